"""Corpus of the intake, cases 25 to 40: state, nested arrays and instructions that do harm."""

import copyreg
import io
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy.stats import uniform
from sklearn._loss.loss import HalfSquaredError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV

from cluster.errors import UploadRefused
from deployments.intake.reader import construct, read_model
from tests.unit.deployments.intake.hostile import (
    Reducer,
    call,
    instance,
    named,
    stream,
    system,
    text,
    value,
)
from tests.unit.deployments.intake.verdicts import LOGISTIC, reason_of


def test_25_benign_search_over_distributions_is_told_to_upload_the_best() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    search = RandomizedSearchCV(LogisticRegression(), {"C": uniform()}, n_iter=2, random_state=0)
    content = pickle.dumps(search.fit(x, x[:, 0] > 0))

    with pytest.raises(UploadRefused, match="best_estimator_") as refused:
        read_model(content, "pickle")

    assert refused.value.context["reason"] == "scipy_distribution"


def test_26_state_on_a_class_object_is_refused_and_the_class_is_whole() -> None:
    poison = b"N" + value({"poison": 7}) + b"\x86b"
    content = stream(named("sklearn._loss.loss", "HalfSquaredError"), poison)

    assert reason_of(content) == "build_target"
    assert not hasattr(HalfSquaredError, "poison")


@pytest.mark.parametrize("target", [("numpy", "log1p"), ("numpy", "float64"), ("numpy", "ndarray")])
def test_26_state_on_a_function_or_type_is_refused(target: tuple[str, str]) -> None:
    assert reason_of(stream(named(*target), value({"a": 1}), b"b")) == "build_target"


@pytest.mark.parametrize(
    "key", ["predict", "__class__", "__reduce__", "__dict__", "__sklearn_tags__", "densify"]
)
def test_27_28_state_keys_that_belong_to_the_class_are_refused(key: str) -> None:
    state = b"}" + text(key) + named("numpy", "mean") + b"s"
    content = stream(instance(*LOGISTIC, state))

    assert reason_of(content) == "state_key"


def test_29_state_with_slots_is_refused() -> None:
    content = stream(instance(*LOGISTIC, value(({"C": 1.0}, {"poison": 1}))))

    assert reason_of(content) == "state_shape"


def _joblib_with_nested(nested: bytes) -> bytes:
    """A joblib file of one object array whose inner pickle is replaced by ``nested``."""
    buffer = io.BytesIO()
    joblib.dump(np.array(["a", None], dtype=object), buffer)
    whole = buffer.getvalue()
    start = whole.index(b"\x80\x05", 2)
    end = len(whole) - 1
    return whole[:start] + nested + whole[end:]


def test_30_nested_object_array_that_calls_is_refused(marker: Path) -> None:
    content = _joblib_with_nested(stream(system(marker), protocol=5))

    assert reason_of(content) == "global"
    assert not marker.exists()


def test_31_nested_object_array_that_poisons_a_class_is_refused() -> None:
    poison = b"N" + value({"poison": 7}) + b"\x86b"
    nested = stream(named("sklearn._loss.loss", "HalfSquaredError"), poison, protocol=5)

    assert reason_of(_joblib_with_nested(nested)) == "build_target"
    assert not hasattr(HalfSquaredError, "poison")


def test_30_31_honest_nested_object_array_is_accepted() -> None:
    buffer = io.BytesIO()
    joblib.dump(np.array(["a", None], dtype=object), buffer)

    array: Any = construct(buffer.getvalue(), "joblib").estimator

    assert array.tolist() == ["a", None]


@pytest.mark.parametrize(
    ("name", "reason"), [("NDArrayWrapper", "global"), ("ZNDArrayWrapper", "legacy_joblib")]
)
def test_32_34_wrappers_that_name_other_files_are_refused(
    name: str, reason: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "bait.npy", np.array([Reducer(print, ("x",))], dtype=object))
    state = value({"filename": str(tmp_path / "bait.npy"), "subclass": None})

    assert reason_of(stream(instance("joblib.numpy_pickle", name, state))) == reason


def test_33_legacy_zfile_is_refused() -> None:
    assert reason_of(b"ZF0x10                " + b"x\x9cpayload") == "legacy_joblib"


@pytest.mark.parametrize(
    ("number", "items"),
    [
        ("35 INST", b"(ios\nsystem\n"),
        ("36 OBJ", b"(" + named("os", "path") + b"o"),
        ("37 PERSID", b"Pid\n"),
        ("37 BINPERSID", b"NQ"),
        ("39 NEXT_BUFFER", b"\x97"),
        ("39 READONLY_BUFFER", b"N\x98"),
        ("40 NEWOBJ_EX", named(*LOGISTIC) + b")}\x92"),
        ("POP", b"NN0"),
        ("POP_MARK", b"N(1"),
        ("DUP", b"N2"),
        ("LONG", b"L1L\n"),
        ("INT", b"I1\n"),
        ("FLOAT", b"F1.0\n"),
        ("STRING", b"S'a'\n"),
        ("UNICODE", b"Va\n"),
        ("DICT", b"(d"),
        ("LIST", b"(l"),
        ("PUT", b"Np0\n"),
        ("GET", b"g0\n"),
    ],
)
def test_35_to_40_unused_instructions_are_refused(number: str, items: bytes) -> None:
    if "OBJ" in number and "NEWOBJ" not in number:
        items = b"(No"

    assert reason_of(stream(items)) == "opcode"


def test_38_extension_registry_is_never_consulted() -> None:
    copyreg.add_extension("os", "system", 0x41)
    try:
        assert reason_of(stream(b"\x82\x41")) == "opcode"
    finally:
        copyreg.remove_extension("os", "system", 0x41)


def test_pending_object_without_state_is_refused() -> None:
    bare = call(
        named("numpy._core.multiarray", "_reconstruct"),
        named("numpy", "ndarray"),
        value((0,)),
        value(b"b"),
    )

    assert reason_of(stream(instance(*LOGISTIC, b"}" + text("coef_") + bare + b"s"))) == "object"


def test_class_kept_as_a_value_is_refused() -> None:
    state = b"}" + text("solver") + named("sklearn.svm._classes", "SVC") + b"s"

    assert reason_of(stream(instance(*LOGISTIC, state))) == "object"
