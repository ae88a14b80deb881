import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from deployments.signatures.answers import to_json


def objects(*items: Any) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@pytest.mark.parametrize(
    ("values", "expected", "non_finite"),
    [
        (np.array([0, 2]), [0, 2], 0),
        (np.array([True, False]), [True, False], 0),
        (np.array([0.1, 1e300]), [0.1, 1e300], 0),
        (np.array([1.7e308, 1.7e308]), [1.7e308, 1.7e308], 0),  # the sum overflows, they do not
        (np.array([[0.1, math.nan], [math.inf, 1.0]]), [[0.1, None], [None, 1.0]], 2),
        (np.array(["a", "b"]), ["a", "b"], 0),
        (objects("a", None, np.int64(3), np.str_("c")), ["a", None, 3, "c"], 0),
        (
            objects([[0.5, 0.5], [1.0]], [[0.25, math.nan]]),
            [[[0.5, 0.5], [1.0]], [[0.25, None]]],
            1,
        ),
        (objects(np.array([0.5, -math.inf])), [[0.5, None]], 1),
        (np.empty((0, 3)), [], 0),
    ],
)
def test_values_become_nested_lists(
    values: NDArray[Any], expected: list[Any], non_finite: int
) -> None:
    assert to_json(values) == (expected, non_finite)


@given(npst.arrays(np.float64, npst.array_shapes(max_dims=2), elements=st.floats()))
def test_finite_floats_read_back_bit_equal(values: NDArray[np.float64]) -> None:
    listed, non_finite = to_json(values)
    back = np.array(orjson.loads(orjson.dumps(listed)), dtype=np.float64)

    finite = np.isfinite(values)
    assert non_finite == np.count_nonzero(~finite)
    assert back[finite].tobytes() == values[finite].tobytes()
    assert np.isnan(back[~finite]).all()
