"""
Case numbers to changed files: honest files of all four formats, and seeded mutations of them.

The same number and seed change the same things, so that a finding can be made again.
"""

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import joblib
import numpy as np
import skops.io
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

#: Pieces that a mutation may put in: names, opcodes, lengths that have hurt loaders before.
SPLICES = (
    b"cos\nsystem\n",
    b"\x8c\x02os\x8c\x06system\x93",
    b"\x8c\x08builtins\x8c\x04eval\x93",
    b"X\x05\x00\x00\x00id>/xR",
    b"\x85R",
    b"N}\x86b",
    b"\x8c\x07predictK\x01s",
    b"r\xff\xff\xff\x7f",
    b"\x96\xff\xff\xff\xff\xff\x00\x00\x00",
    b"\x00\x00\x00\x40",
    b"\xff\xff\xff\xff",
    b"\x80\x04N.",
)

_FORMATS = ("pickle", "joblib", "skops", "onnx")
_SHARES = (35, 25, 25, 15)


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Honest files: (format, bytes)."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3))
    y = (x[:, 0] > 0).astype(int)
    words = np.array([["a", "b"], ["c", None]] * 20, dtype=object)
    models: list[Any] = [
        make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y),
        RandomForestClassifier(2, max_depth=3, random_state=np.random.RandomState(0)).fit(x, y),
        HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(x, y),
        KNeighborsClassifier(algorithm="kd_tree").fit(x, y),
        SVC().fit(x, y),
        CountVectorizer().fit(["ab cd", "ef gh"]),
        make_column_transformer((OneHotEncoder(), [0, 1])).fit(words),
    ]
    found: list[tuple[str, bytes]] = []
    for model in models:
        found += [("pickle", pickle.dumps(model, protocol)) for protocol in (2, 4, 5)]
        for compress in (0, 3, "lz4"):
            buffer = io.BytesIO()
            joblib.dump(model, buffer, compress=compress)
            found.append(("joblib", buffer.getvalue()))
        found.append(("skops", skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED)))
        found.append(("skops", skops.io.dumps(model)))
    return (*found, ("onnx", _onnx_product()), ("onnx", _onnx_trees()))


def _onnx_trees() -> bytes:
    trees = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[1, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
        n_targets=1,
    )
    graph = helper.make_graph(
        [trees],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=imports).SerializeToString())


def _onnx_product() -> bytes:
    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    return bytes(made.SerializeToString())


def mutated(number: int, seed: int) -> tuple[str, bytes]:
    """Case ``number``: (format, bytes); the same each time but for the ids that skops writes."""
    draw = random.Random(seed * 1_000_003 + number)
    chosen = draw.choices(_FORMATS, _SHARES)[0]
    format_, content = draw.choice([seed_ for seed_ in seeds() if seed_[0] == chosen])
    if format_ == "skops" and draw.random() < 0.7:
        return format_, _inside_zip(draw, content)
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        draw.choice(_MUTATIONS)(draw, data)
    return format_, bytes(data)


def _flip(draw: random.Random, data: bytearray) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _overwrite(draw: random.Random, data: bytearray) -> None:
    if data:
        at = draw.randrange(len(data))
        data[at : at + 4] = draw.choice(SPLICES)[:4]


def _splice(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = draw.choice(SPLICES)


def _cut(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) + 1)
    del data[at : at + draw.choice((1, 2, 8, 64, 4096))]


def _repeat(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = data[at : at + draw.choice((1, 8, 64))] * draw.choice((1, 3, 50))


def _byte(draw: random.Random, data: bytearray) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


_MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    _overwrite,
    _splice,
    _cut,
    _repeat,
    _byte,
)


def _inside_zip(draw: random.Random, content: bytes) -> bytes:
    """The container rebuilt around one changed member, so that the change is reached."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice([*members, "schema.json", "schema.json"])
    data = bytearray(members[name])
    if name == "schema.json" and draw.random() < 0.5:
        data = bytearray(_swap_words(draw, members[name].decode()).encode())
    else:
        draw.choice(_MUTATIONS)(draw, data)
    members[name] = bytes(data)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, value in members.items():
            archive.writestr(key, value)
    return buffer.getvalue()


def _swap_words(draw: random.Random, schema: str) -> str:
    """One quoted word of the JSON replaced by another, or by a dangerous one."""
    parts = schema.split('"')
    if len(parts) < 4:
        return schema
    odd = range(1, len(parts) - 1, 2)
    words = [parts[draw.choice(odd)], "os", "system", "builtins", "MethodNode", "FunctionNode"]
    parts[draw.choice(odd)] = draw.choice(words)
    return '"'.join(parts)
