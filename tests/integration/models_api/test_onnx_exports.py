"""
Boosters of other libraries, exported to ONNX, answer what their own library answers.

The files are made by tests/compatibility/onnx_exports.py; ONNX trees compute in float32.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.integration.models_api.real_platform import Platform, predict, real_platform, upload

pytestmark = pytest.mark.anyio
__all__ = ["real_platform"]

EXPORTED = Path(__file__).with_name("exported")
NAMES = sorted(path.stem for path in EXPORTED.glob("*.onnx"))


def test_there_is_a_classifier_and_a_regressor_of_each_library() -> None:
    kinds = ("classifier", "regressor")
    assert [f"{library}-{kind}" for library in ("lightgbm", "xgboost") for kind in kinds] == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_an_exported_booster_answers_as_its_library_does(
    platform: Platform, name: str
) -> None:
    client = await platform.user(role="member")
    told = json.loads((EXPORTED / f"{name}.json").read_text())

    made = await upload(client, (EXPORTED / f"{name}.onnx").read_bytes())

    assert made.status_code == 201, made.text
    assert made.json()["format"] == "onnx"
    for method in {"predict", "predict_proba"} & told.keys():
        answers = np.array(await predict(client, told["instances"], method), dtype=float)
        wanted = np.reshape(told[method], answers.shape)
        np.testing.assert_allclose(answers, wanted, rtol=1e-5, atol=1e-6)
