"""pandas pieces that only another machine's pandas writes: pyarrow memory, pandas 2 names."""

import struct
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import UploadRefused
from deployments.intake.reader import construct
from tests.unit.deployments.intake.hostile import call, instance, named, stream, text, value

NAMES = ["age", "Ulm ü", ""]


def arrow_names(
    offsets: list[int] | None = None, validity: bytes | None = None, length: int = 3
) -> bytes:
    """The pickle of ``pd.Index(NAMES)`` whose text lies in pyarrow buffers."""
    raw = [name.encode() for name in NAMES]
    ends = offsets or [0, *np.cumsum([len(part) for part in raw]).tolist()]
    buffer = named("pyarrow.lib", "py_buffer")
    buffers = (
        b"]("
        + (b"N" if validity is None else call(buffer, value(bytearray(validity))))
        + call(buffer, value(bytearray(struct.pack(f"<{len(ends)}q", *ends))))
        + call(buffer, value(bytearray(b"".join(raw))))
        + b"e"
    )
    kind = call(named("pyarrow.lib", "type_for_alias"), text("large_string"))
    parts = b"(" + kind + value(length) + b"K\x00K\x00" + buffers + b"]Nt"
    array = instance(
        "pandas.arrays",
        "ArrowStringArray",
        b"}("
        + text("_pa_array")
        + call(named("pyarrow.lib", "_restore_array"), parts)
        + text("_dtype")
        + call(named("pandas", "StringDtype"), text("pyarrow"), value(float("nan")))
        + b"u",
    )
    index = b"}(" + text("data") + array + text("name") + b"Nu"
    return stream(
        call(named("pandas.core.indexes.base", "_new_Index"), named("pandas", "Index"), index)
    )


def test_index_in_pyarrow_memory_is_read_without_pyarrow() -> None:
    found: Any = construct(arrow_names(), "pickle").estimator

    assert found.equals(pd.Index(NAMES, dtype="str"))
    assert type(found.array).__name__ == type(pd.Index(NAMES, dtype="str").array).__name__


def test_missing_name_is_missing() -> None:
    found: Any = construct(arrow_names(validity=b"\x05"), "pickle").estimator

    assert found.isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(arrow_names(offsets=[0, 3, 9, 999]), id="beyond the text"),
        pytest.param(arrow_names(offsets=[0, 9, 3, 9]), id="backwards"),
        pytest.param(arrow_names(offsets=[-4, 3, 9, 9]), id="negative"),
        pytest.param(arrow_names(length=1000), id="too long"),
        pytest.param(arrow_names(validity=b""), id="no marks"),
    ],
)
def test_buffers_that_lie_are_refused(content: bytes) -> None:
    with pytest.raises(UploadRefused) as refused:
        construct(content, "pickle")

    assert refused.value.context["reason"] == "array"


def test_names_of_pandas_2_are_understood() -> None:
    array = call(
        named("pandas.core.indexes.base", "_new_Index"),
        named("pandas.core.indexes.range", "RangeIndex"),
        value({"name": None, "start": 0, "stop": 3, "step": 1}),
    )

    found: Any = construct(stream(array), "pickle").estimator

    assert found.tolist() == [0, 1, 2]


@pytest.mark.parametrize("stop", [1 << 40, None])
def test_endless_range_is_refused(stop: Any) -> None:
    array = call(
        named("pandas.core.indexes.base", "_new_Index"),
        named("pandas", "RangeIndex"),
        value({"name": None, "start": 0, "stop": stop, "step": 1}),
    )

    with pytest.raises(UploadRefused) as refused:
        construct(stream(array), "pickle")
    assert refused.value.context["reason"] == "array"
