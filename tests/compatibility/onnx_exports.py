"""
Writes what gradient boosting libraries export: ``python onnx_exports.py DIRECTORY``.

Runs in an environment of its own with xgboost, lightgbm and onnxmltools, so it imports nothing of
this project.  Each model becomes ``<name>.onnx`` and ``<name>.json``: some rows, and what the
library itself answers to them.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxmltools  # type: ignore[import-not-found]
import xgboost
from onnxmltools.convert.common.data_types import (  # type: ignore[import-not-found]
    FloatTensorType,
)
from sklearn.datasets import load_diabetes, load_iris

TREES = 12


def main(directory: Path) -> None:
    """Fit, export and ask four models."""
    iris, diabetes = load_iris(return_X_y=True), load_diabetes(return_X_y=True)
    common = {"n_estimators": TREES, "max_depth": 3, "random_state": 0}
    of_xgboost, of_lightgbm = onnxmltools.convert_xgboost, onnxmltools.convert_lightgbm
    for name, model, data, convert in (
        ("xgboost-classifier", xgboost.XGBClassifier(**common), iris, of_xgboost),
        ("xgboost-regressor", xgboost.XGBRegressor(**common), diabetes, of_xgboost),
        ("lightgbm-classifier", lightgbm.LGBMClassifier(**common), iris, of_lightgbm),
        ("lightgbm-regressor", lightgbm.LGBMRegressor(**common), diabetes, of_lightgbm),
    ):
        rows = data[0].astype(np.float32)
        model.fit(rows, data[1])
        inputs = [("input", FloatTensorType([None, rows.shape[1]]))]
        exported = convert(model, initial_types=inputs, target_opset=15)
        (directory / f"{name}.onnx").write_bytes(exported.SerializeToString())
        told = _answers(model, rows[::10])
        (directory / f"{name}.json").write_text(json.dumps(told) + "\n")


def _answers(model: Any, rows: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "versions": {name: version(name) for name in ("xgboost", "lightgbm", "onnxmltools")},
        "instances": rows.astype(float).tolist(),
        "predict": model.predict(rows).astype(float).tolist(),
    }
    if hasattr(model, "predict_proba"):
        told["predict_proba"] = model.predict_proba(rows).astype(float).tolist()
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]))
