"""Corpus of the intake, cases 1 to 47: names, calls and state that run code elsewhere."""

import copyreg
import functools
import io
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no types
import joblib
import numpy as np
import pytest
from scipy.stats import uniform
from sklearn._loss.loss import HalfSquaredError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV
from sklearn.preprocessing import FunctionTransformer

from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.reader import construct, read_model
from tests.unit.deployments.intake.hostile import (
    Reducer,
    call,
    instance,
    named,
    proto2_named,
    stream,
    system,
    text,
    touch,
    value,
)

LOGISTIC = ("sklearn.linear_model._logistic", "LogisticRegression")


def reason_of(content: bytes) -> str:
    """The word with which gates 0 to 3 refuse ``content``."""
    with pytest.raises(UploadRefused) as refused:
        read_model(content, detect(content))
    assert refused.value.message
    return str(refused.value.context["reason"])


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Where a payload would leave its mark."""
    return tmp_path / "escaped"


def _memo_global(marker: Path) -> bytes:
    return stream(
        text("os") + b"\x94",
        text("system") + b"\x94",
        b"0" * 0,
        b"h\x00h\x01\x93",
        text(touch(marker)) + b"\x85R",
    )


def _chain(marker: Path) -> bytes:
    module = call(named("builtins", "__import__"), text("os"))
    function = call(named("builtins", "getattr"), module, text("system"))
    return stream(call(function, text(touch(marker))))


def _gadget(module: str, name: str, *args: str) -> Callable[[Path], bytes]:
    def build(marker: Path) -> bytes:
        filled = [text(arg.replace("$", touch(marker))) for arg in args]
        return stream(call(named(module, name), *filled))

    return build


#: number in the corpus, file, reason
NAMES: list[tuple[str, Callable[[Path], bytes], str]] = [
    ("1", lambda m: b"cos\nsystem\n(S'" + touch(m).encode() + b"'\ntR.", "opcode"),
    (
        "2",
        lambda m: stream(call(proto2_named("os", "system"), text(touch(m))), protocol=2),
        "global",
    ),
    (
        "3",
        lambda m: stream(call(proto2_named("posix", "system"), text(touch(m))), protocol=3),
        "global",
    ),
    ("4", _memo_global, "global"),
    ("5", _gadget("builtins", "eval", "__import__('os').system('$')"), "global"),
    ("6", _gadget("builtins", "exec", "import os; os.system('$')"), "global"),
    ("7", _chain, "global"),
    ("8", _gadget("builtins", "__import__", "os"), "global"),
    ("9a", _gadget("importlib", "import_module", "os"), "global"),
    ("9b", _gadget("inspect", "getattr_static", "os", "system"), "global"),
    ("10", _gadget("multiprocessing.util", "spawnv_passfds", "/bin/sh"), "global"),
    ("11", _gadget("numpy.core", "_ufunc_reconstruct", "os", "system"), "global"),
    ("11b", _gadget("numpy._core", "_ufunc_reconstruct", "os", "system"), "global"),
    ("12", _gadget("scipy._lib._uarray._backend", "unpickle_function", "os", "system"), "global"),
    ("13", _gadget("numpy.testing._private.utils", "runstring", "import os"), "global"),
    *[
        (f"14-{name}", _gadget("numpy.f2py.crackfortran", name, "1"), "global")
        for name in ("_eval_length", "myeval", "_eval_scalar", "param_eval")
    ],
    ("15a", _gadget("numpy.f2py.diagnose", "run"), "global"),
    ("15b", _gadget("numpy.distutils.exec_command", "exec_command", "$"), "global"),
    ("16", _gadget("sklearn.externals.array_api_compat._internal", "clone_module", "os"), "global"),
    ("17b", _gadget("sklearn.datasets._openml", "fetch_openml", "iris"), "global"),
    ("18", _gadget("joblib.testing", "check_subprocess_call", "$"), "global"),
    ("19", _gadget("joblib.numpy_pickle", "load", "/tmp/model"), "global"),
    ("20", _gadget("joblib.memory", "Memory", "/tmp"), "global"),
    ("21", _gadget("numpy", "f2py.os.system", "$"), "dotted"),
    ("22", lambda _: stream(named("sklearn.base", "clone.__globals__")), "dotted"),
    ("23", _gadget("joblib.disk", "os.unlink", "/tmp/none"), "dotted"),
    (
        "24",
        lambda _: stream(
            instance(
                "scipy.stats._continuous_distns",
                "norm_gen",
                value({"_parse_arg_template": "import os; os.system('id')"}),
            )
        ),
        "scipy_distribution",
    ),
    ("41", lambda _: stream(call(named("functools", "partial"), named("os", "system"))), "global"),
    ("copyreg", _gadget("copyreg", "_reconstructor", "os"), "global"),
    ("operator", _gadget("operator", "attrgetter", "system"), "global"),
    (
        "partial-type",
        lambda _: stream(call(named("functools", "partial"), named("builtins", "set"))),
        "global",
    ),
    ("call-reference", _gadget("numpy", "log1p", "1"), "call"),
    ("call-class", _gadget(*LOGISTIC), "call"),
]


@pytest.mark.parametrize(
    ("build", "reason"), [case[1:] for case in NAMES], ids=[case[0] for case in NAMES]
)
def test_name_is_refused_and_nothing_runs(
    build: Callable[[Path], bytes], reason: str, marker: Path
) -> None:
    assert reason_of(build(marker)) == reason

    assert not marker.exists()


def test_17_fetch_opens_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        content = stream(call(named("sklearn.datasets._base", "_fetch_remote"), text(url)))

        assert reason_of(content) == "global"
        with pytest.raises(TimeoutError):
            listener.accept()


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


def test_42_partial_over_a_listed_function_is_accepted() -> None:
    model = FunctionTransformer(functools.partial(np.round, decimals=1))
    content = pickle.dumps(model.fit([[1.25]]))

    loaded: Any = read_model(content, "pickle")

    assert loaded.transform([[1.26]]) == [[1.3]]


def test_42_partial_with_an_object_argument_is_refused() -> None:
    model = FunctionTransformer(functools.partial(np.clip, LogisticRegression()))

    assert reason_of(pickle.dumps(model.fit([[1.25]]))) == "key"


def test_43_lambda_is_refused_with_a_way_out() -> None:
    model = FunctionTransformer(lambda x: x + 1).fit([[1.0]])

    with pytest.raises(UploadRefused, match=r"lambda.*numpy\.log1p") as refused:
        read_model(cloudpickle.dumps(model), "pickle")

    assert refused.value.context["reason"] == "global"


def test_44_class_of_main_is_refused_by_name() -> None:
    with pytest.raises(UploadRefused, match=r"__main__\.Cleaner.*INTAKE_EXTRA_NAMES") as refused:
        read_model(stream(instance("__main__", "Cleaner", b"}")), "pickle")

    assert refused.value.context["name"] == "__main__.Cleaner"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (("xgboost.sklearn", "XGBClassifier"), "ONNX"),
        (("lightgbm.sklearn", "LGBMClassifier"), "ONNX"),
        (("xgboost.core", "Booster"), "raw Booster"),
        (("torch._utils", "_rebuild_tensor_v2"), "torch"),
        (("keras.src.saving", "unpickle_model"), "keras"),
        (("sktime.transformations", "Detrender"), "INTAKE_EXTRA_NAMES"),
    ],
)
def test_45_other_libraries_are_refused_by_name_with_advice(
    name: tuple[str, str], advice: str
) -> None:
    with pytest.raises(UploadRefused, match=advice) as refused:
        read_model(stream(instance(*name, b"}")), "pickle")

    assert refused.value.context["name"] == ".".join(name)


def test_45_class_on_the_operators_list_is_accepted() -> None:
    name = "tests.unit.deployments.intake.company.Doubler"
    from tests.unit.deployments.intake.company import Doubler

    content = pickle.dumps(Doubler(factor=3).fit([[1.0]]))

    with pytest.raises(UploadRefused):
        read_model(content, "pickle")
    loaded: Any = read_model(content, "pickle", extra_names=frozenset({name}))
    assert loaded.transform(np.array([[2.0]])).tolist() == [[6.0]]


def test_46_listed_numpy_function_is_accepted() -> None:
    content = pickle.dumps(FunctionTransformer(np.log1p).fit([[1.0]]))

    loaded: Any = read_model(content, "pickle")

    assert loaded.transform([[0.0]]) == [[0.0]]


def test_47_second_pickle_after_the_first_is_refused(marker: Path) -> None:
    honest = pickle.dumps(LogisticRegression())

    assert reason_of(honest + stream(system(marker))) == "trailing"
    assert not marker.exists()


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
