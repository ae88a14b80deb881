"""Types that only the owner's rows tell."""

from typing import Any

import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cluster.contracts import FeatureType
from deployments.signatures.derive import derive_signature
from deployments.signatures.refine import refine_signature

TABLE = pd.DataFrame({"size": [1.0, 2.0, 3.0], "note": ["a", "b", "c"]})


def model() -> Any:
    """Reads ``size`` alone: nothing of it tells what ``note`` holds."""
    columns = ColumnTransformer([("n", StandardScaler(), ["size"])])
    return make_pipeline(columns, Ridge()).fit(TABLE, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (["x", "y"], "string"),
        ([1, 2.5], "number"),
        ([True, None], "boolean"),
        (["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"], "datetime"),
        (["2026-01-01T00:00:00Z", "soon"], "string"),
        (["x", 1], "unknown"),  # of two kinds
        ([None, None], "unknown"),
    ],
)
def test_an_untold_type_is_taken_from_the_rows(notes: list[Any], expected: FeatureType) -> None:
    estimator = model()
    signature = derive_signature(estimator)

    by_name = [{"size": 1.0, "note": note} for note in notes]
    by_position = [[1.0, note] for note in notes]

    assert signature.features[1].type == "unknown"
    for rows in (by_name, by_position):
        refined = refine_signature(signature, estimator, rows)
        assert [f.type for f in refined.features] == ["number", expected]


def test_a_told_type_is_left_alone() -> None:
    estimator = model()
    signature = derive_signature(estimator)

    refined = refine_signature(signature, estimator, [{"size": "large", "note": None}])

    assert refined.features[0] == signature.features[0]
