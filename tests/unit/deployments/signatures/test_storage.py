import json
import math

import numpy as np

from cluster.contracts import Feature, OutputSpec, Signature
from deployments.signatures.storage import (
    public_signature,
    signature_from_json,
    signature_to_json,
)

SIGNATURE = Signature(
    kind="table",
    container="frame",
    features=(
        Feature(name="age", type="number", nullable=True),
        Feature(
            name="city",
            type="string",
            nullable=False,
            categories=("Basel", "Bern"),
            dtype="str",
            missing="none",
        ),
        Feature(
            name="year", type="integer", nullable=False, categories=(2000, 3000), dtype="int64"
        ),
    ),
    methods=("predict", "predict_proba"),
    outputs={
        "predict": OutputSpec(type="INT64", shape=(-1,)),
        "predict_proba": OutputSpec(type="FP64", shape=(-1, 2)),
    },
    classes=((0, 1), ("a", "b")),
    sklearn_version="1.9.1",
)


def test_a_signature_comes_back_equal_through_json_text() -> None:
    text = json.dumps(signature_to_json(SIGNATURE), allow_nan=False)

    assert signature_from_json(json.loads(text)) == SIGNATURE


def test_callers_see_how_to_call_and_not_how_we_call() -> None:
    shown = public_signature(SIGNATURE)

    assert shown == {
        "kind": "table",
        "features": [
            {"name": "age", "type": "number", "nullable": True},
            {"name": "city", "type": "string", "nullable": False, "categories": ["Basel", "Bern"]},
            {"name": "year", "type": "integer", "nullable": False, "categories": [2000, 3000]},
        ],
        "methods": ["predict", "predict_proba"],
        "outputs": {
            "predict": {"type": "INT64", "shape": [-1]},
            "predict_proba": {"type": "FP64", "shape": [-1, 2]},
        },
        "classes": [[0, 1], ["a", "b"]],
        "sklearn_version": "1.9.1",
    }


def test_numpy_scalars_and_nan_become_plain_json() -> None:
    feature = Feature(
        name="x", type="number", nullable=True, categories=(np.float64(1.5), math.nan)
    )
    signature = Signature(
        kind="table",
        container="matrix",
        features=(feature,),
        methods=("predict",),
        outputs={"predict": OutputSpec(type="INT64", shape=(-1,))},
        classes=(np.int64(0), np.int64(1)),
        sklearn_version="1.9.1",
    )
    stored = json.loads(json.dumps(signature_to_json(signature), allow_nan=False))

    assert stored["features"][0]["categories"] == [1.5, None]
    assert stored["classes"] == [0, 1]
