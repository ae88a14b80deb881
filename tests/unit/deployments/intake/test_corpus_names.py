"""Corpus of the intake, cases 1 to 47: names, calls and state that run code elsewhere."""

import functools
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from cluster.errors import UploadRefused
from deployments.intake.reader import read_model
from tests.unit.deployments.intake.hostile import (
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
from tests.unit.deployments.intake.verdicts import LOGISTIC, reason_of


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
