"""Corpus of the intake, cases 73 to 83: hostile skops files."""

import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.limits import Limits
from deployments.intake.reader import read_model

X = np.random.default_rng(0).normal(size=(30, 3))


@cache
def honest() -> bytes:
    """A skops file that is accepted as it is."""
    return bytes(skops.io.dumps(LogisticRegression().fit(X, X[:, 0] > 0)))


def rewritten(
    change: Callable[[dict[str, Any]], Any] | None = None,
    members: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """``honest()`` with its schema changed and members replaced or added."""
    with zipfile.ZipFile(io.BytesIO(honest())) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(found.pop("schema.json"))
    if change is not None:
        schema = change(schema) or schema
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in (found | (members or {})).items():
            archive.writestr(name, content)
        archive.writestr("schema.json", json.dumps(schema))
    return buffer.getvalue()


def reason_of(content: bytes, limits: Limits | None = None) -> str:
    """The word with which gates 0 to 3 refuse ``content``."""
    with pytest.raises(UploadRefused) as refused:
        read_model(content, detect(content), limits=limits)
    return str(refused.value.context["reason"])


def test_the_rewritten_file_is_accepted_when_nothing_changed() -> None:
    assert isinstance(read_model(rewritten(), "skops"), LogisticRegression)


def test_73_zip_bomb_is_refused() -> None:
    bomb = rewritten(members={"bomb.bin": bytes(40 << 20)}, compression=zipfile.ZIP_DEFLATED)

    assert reason_of(bomb) == "ratio"


def test_74_forged_sizes_are_refused() -> None:
    content = bytearray(
        rewritten(members={"big.bin": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED)
    )
    entry = content.index(b"PK\x01\x02", content.rindex(b"big.bin") - 60)
    content[entry + 24 : entry + 28] = struct.pack("<I", 10)  # declared uncompressed size

    assert reason_of(bytes(content)) == "zip"


@pytest.mark.parametrize(
    "name", ["../x.bin", "/etc/x.bin", "a/../../x.bin", "C:x.bin", "..\\x.bin"]
)
def test_75_member_names_that_leave_the_archive_are_refused(name: str) -> None:
    assert reason_of(rewritten(members={name: b"x"})) == "zip"


def test_76_symbolic_link_is_refused() -> None:
    buffer = io.BytesIO(honest())
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("link.bin")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")

    assert reason_of(buffer.getvalue()) == "zip"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_77_two_schemas_are_refused() -> None:
    buffer = io.BytesIO(honest())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("schema.json", "{}")

    assert reason_of(buffer.getvalue()) == "zip"


def test_78_too_many_members_are_refused() -> None:
    many = {f"{number}.bin": b"" for number in range(10_001)}

    assert reason_of(rewritten(members=many)) == "zip"


def test_78_forged_member_count_is_refused() -> None:
    content = bytearray(honest())
    end = content.rindex(b"PK\x05\x06")
    content[end + 8 : end + 12] = b"\xff\xff\xff\xff"

    assert reason_of(bytes(content)) == "zip"


def test_79_encrypted_member_is_refused() -> None:
    content = bytearray(honest())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1

    assert reason_of(bytes(content)) == "zip"


def npy(header: str, data: bytes = b"") -> bytes:
    """A ``.npy`` file with a header of our choice."""
    raw = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}"), id="80"
        ),
        pytest.param(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), id="81"),
        pytest.param(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), id="neg"),
        pytest.param(
            npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': ()}"), id="rec"
        ),
        pytest.param(
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes(24)), id="tail"
        ),
        pytest.param(npy("{'descr': '<f8'}"), id="keys"),
        pytest.param(b"\x80\x04N.", id="pickle"),
        pytest.param(b"", id="empty"),
    ],
)
def test_80_81_arrays_that_lie_are_refused(member: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(honest())) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".npy"))

    assert reason_of(rewritten(members={name: member})) == "array"


def _node(loader: str, module: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": loader, **rest}


def _json(value: Any) -> dict[str, Any]:
    return _node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def _with_attribute(node: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["C"] = node

    return change


HOSTILE_NODES = [
    pytest.param(
        _node("MethodNode", "builtins", "str", content={"func": "x"}), "type", id="82 method"
    ),
    pytest.param(_node("OperatorFuncNode", "operator", "attrgetter", attrs={}), "type", id="82 op"),
    pytest.param(_node("FunctionNode", "os", "system"), "global", id="82 function"),
    pytest.param(_node("TypeNode", "os", "system"), "global", id="82 type"),
    pytest.param(_node("TypeNode", "builtins", "getattr"), "global", id="82 getattr"),
    pytest.param(
        _node(
            "PartialNode",
            "functools",
            "partial",
            content={
                "func": _node("FunctionNode", "os", "system"),
                "args": {},
                "kwds": {},
                "namespace": {},
            },
        ),
        "global",
        id="82 partial",
    ),
    pytest.param(
        _node("ConstructorFromReduceNode", "subprocess", "Popen", content=_json("id")),
        "global",
        id="82 constructor",
    ),
    pytest.param(_node("ObjectNode", "os", "_wrap_close"), "global", id="object"),
    pytest.param(_node("ObjectNode", "numpy", "f2py.os.system"), "dotted", id="dotted"),
    pytest.param(
        _node("FunctionNode", "sklearn.svm._classes", "SVC"), "type", id="class as function"
    ),
    pytest.param(_node("NoSuchNode", "builtins", "dict"), "type", id="unknown"),
    pytest.param(_node("ListNode", "builtins", "map", content=[]), "global", id="map"),
    pytest.param(_node("SetNode", "os", "system", content=[]), "global", id="set"),
    pytest.param(_node("BytesNode", "builtins", "bytes", file="../x.bin"), "type", id="member"),
    pytest.param(
        _node(
            "RandomGeneratorNode",
            "numpy.random",
            "Generator",
            content={"bit_generator": _json("seed"), "seed_seq": _json(1)},
        ),
        "native",
        id="generator",
    ),
    pytest.param(
        _node("JsonNode", "builtins", "str", content="[[1]]"), "arguments", id="json list"
    ),
    pytest.param(
        _node("LossNode", "os", "system", __reduce__={"args": _json(None)}), "native", id="loss"
    ),
]


@pytest.mark.parametrize(("node", "reason"), HOSTILE_NODES)
def test_82_hostile_nodes_are_refused(node: dict[str, Any], reason: str) -> None:
    assert reason_of(rewritten(_with_attribute(node))) == reason


def test_82_listed_function_is_accepted() -> None:
    model = FunctionTransformer(np.log1p).fit(X)

    loaded: Any = read_model(skops.io.dumps(model), "skops")

    assert loaded.func is np.log1p


def test_82_state_key_that_names_a_method_is_refused() -> None:
    def change(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["predict"] = _node("FunctionNode", "numpy", "mean")
        schema["content"]["key_types"]["content"].append(_node("TypeNode", "builtins", "str"))

    assert reason_of(rewritten(change)) == "state_key"


def test_82_node_that_contains_itself_is_refused() -> None:
    def change(schema: dict[str, Any]) -> None:
        again = _node("ListNode", "builtins", "list", content=[], __id__=7)
        inner = _node("ListNode", "builtins", "list", content=[again], __id__=7)
        schema["content"]["content"]["C"] = inner

    assert reason_of(rewritten(change)) == "type"


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_83_schema_nested_without_end_is_refused(depth: int) -> None:
    nested = (
        '{"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "content": ['
    )
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        body = nested * depth + "]}" * depth
        archive.writestr("schema.json", '{"protocol": 2, ' + body[1:])

    assert reason_of(buffer.getvalue()) in {"budget", "type"}


@pytest.mark.parametrize("protocol", [-1, 3, True, "2", None])
def test_schema_versions_of_the_future_are_refused(protocol: Any) -> None:
    assert reason_of(rewritten(lambda schema: schema | {"protocol": protocol})) == "type"


def test_schema_is_bounded_in_nodes() -> None:
    assert reason_of(honest(), Limits(max_schema_nodes=10)) == "budget"


def test_nothing_is_written_where_a_member_points(tmp_path: Path) -> None:
    target = tmp_path / "escaped.bin"

    assert reason_of(rewritten(members={str(target): b"x"})) == "zip"
    assert not target.exists()
