"""Compiled models travel as bytes that are checked before anything indexes with them."""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.contracts import Batch, JsonObject
from cluster.errors import ArtifactCorrupt
from deployments.engines.compile import compile_model
from deployments.engines.compiled import CompiledModel
from deployments.engines.container import MAGIC, pack, unpack
from tests.unit.deployments.engines.zoo import SPECIMENS, Specimen, fitted, many_rows

COMPILED = [one for one in SPECIMENS if one.engine != "native"]
Arrays = dict[str, NDArray[Any]]


@pytest.mark.parametrize("specimen", COMPILED, ids=lambda one: one.name)
def test_a_reloaded_model_answers_bit_for_bit_the_same(specimen: Specimen) -> None:
    rows = many_rows(specimen, 50)
    batch = Batch(rows=len(rows), matrix=rows)
    model = compile_model(fitted(specimen.name), rows.shape[1])

    again = CompiledModel.load(model.dump())

    assert again.methods == model.methods
    for method in model.methods:
        assert again.run(method, batch).tolist() == model.run(method, batch).tolist()


def test_unpack_gives_back_header_and_arrays() -> None:
    arrays: Arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}

    meta, read = unpack(pack({"k": [1, "x"]}, arrays))

    assert meta == {"k": [1, "x"]}
    assert read["a"].tolist() == arrays["a"].tolist()
    assert read["b"].dtype == np.bool_


def _with_header(change: Callable[[JsonObject], None]) -> bytes:
    content = pack({}, {"a": np.arange(4.0)})
    (size,) = struct.unpack_from("<Q", content, len(MAGIC))
    start = len(MAGIC) + 8
    header = json.loads(content[start : start + size])
    change(header)
    text = json.dumps(header).encode()
    # Keep the header's length, so that the arrays stay where they were.
    text = text.ljust(size) if len(text) <= size else text
    return content[: len(MAGIC)] + struct.pack("<Q", len(text)) + text + content[start + size :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04N.",  # a pickle
        MAGIC,
        MAGIC + struct.pack("<Q", 2**62) + b"{}",  # a header longer than the file
        MAGIC + struct.pack("<Q", 2) + b"[]",
        MAGIC + struct.pack("<Q", 60_000) + b"[" * 60_000,  # nested too deeply to parse
        pack({}, {"a": np.arange(4.0)})[:-40],  # truncated
        _with_header(lambda h: h["arrays"][0].update(dtype="|O")),
        _with_header(lambda h: h["arrays"][0].update(dtype="<M8")),
        _with_header(lambda h: h["arrays"][0].update(shape=[2**40])),
        _with_header(lambda h: h["arrays"][0].update(shape=[-4])),
        _with_header(lambda h: h["arrays"][0].update(shape=[4.0])),
        _with_header(lambda h: h["arrays"][0].update(offset=2**63)),
        _with_header(lambda h: h["arrays"][0].update(offset=-64)),
        _with_header(lambda h: h["arrays"].append(h["arrays"][0])),
    ],
)
def test_malformed_containers_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactCorrupt):
        unpack(content)


def _forest_parts() -> tuple[JsonObject, Arrays]:
    return unpack(compile_model(fitted("forest"), 30).dump())


def _first_split(arrays: Arrays) -> int:
    return int(np.flatnonzero(arrays["left"] != np.arange(arrays["left"].size))[0])


def _set(name: str, value: float) -> Callable[[JsonObject, Arrays], None]:
    def change(meta: JsonObject, arrays: Arrays) -> None:
        del meta
        arrays[name][_first_split(arrays)] = value

    return change


def _meta(**values: object) -> Callable[[JsonObject, Arrays], None]:
    return lambda meta, _: meta["head"].update(values)


def _loop(meta: JsonObject, arrays: Arrays) -> None:
    """A child that points back to its parent."""
    del meta
    splits = np.flatnonzero(arrays["left"] != np.arange(arrays["left"].size))
    arrays["left"][splits[-1]] = splits[0]


def _short(name: str) -> Callable[[JsonObject, Arrays], None]:
    return lambda _, arrays: arrays.update({name: arrays[name][:-1]})


@pytest.mark.parametrize(
    "change",
    [
        _set("left", 10**9),
        _set("left", -5),
        _set("feature", 30),
        _set("feature", -1),
        _loop,
        _short("values"),
        _short("threshold"),
        lambda _, arrays: arrays.update(threshold=np.zeros(arrays["threshold"].size)),
        lambda _, arrays: arrays.update(feature=arrays["feature"].astype(np.float64)),
        lambda _, arrays: arrays.pop("missing_right"),
        _meta(trees=10**9),
        _meta(trees=0),
        _meta(depth=10**9),
        _meta(depth=-1),
        _meta(depth="3"),
        _meta(groups=3),
        _meta(groups=0),
        _meta(link="eval"),
        _meta(input="float16"),
        _meta(labels=[], link="softmax", groups=8),
        _meta(labels=[{"dtype": "int64", "values": [0]}]),
        _meta(labels=[{"dtype": "int64", "values": ["a", "b"]}]),
        _meta(labels=[{"dtype": "int64", "values": [0, 2**70]}]),
        lambda meta, _: meta.update(width=3),
        lambda meta, _: meta.update(kind="pickle"),
        lambda meta, _: meta.update(steps=[{"operation": "eval", "arrays": []}]),
        lambda meta, _: meta.update(steps=[{"operation": "divide", "arrays": ["values"]}]),
        lambda meta, _: meta.update(steps=[{"operation": "pick", "arrays": ["left"]}]),
    ],
)
def test_hostile_forests_are_refused(change: Callable[[JsonObject, Arrays], object]) -> None:
    meta, arrays = _forest_parts()
    change(meta, arrays)

    with pytest.raises(ArtifactCorrupt):
        CompiledModel.load(pack(meta, arrays))


@pytest.mark.parametrize(
    "change",
    [
        lambda _, arrays: arrays.update(coefficients=np.zeros((3, 5))),
        lambda _, arrays: arrays.update(coefficients=np.zeros((3, 4), dtype=np.float32)),
        lambda _, arrays: arrays.update(coefficients=np.zeros((3, 4, 1))),
        lambda _, arrays: arrays.update(intercept=np.zeros(7)),
        lambda _, arrays: arrays.pop("intercept"),
        _meta(link="exec"),
        _meta(labels={"dtype": "object", "values": ["a", "b"]}),
        _meta(labels={"dtype": "object", "values": [["a"], "b", "c"]}),
    ],
)
def test_hostile_linear_models_are_refused(
    change: Callable[[JsonObject, Arrays], object],
) -> None:
    meta, arrays = unpack(compile_model(fitted("logistic"), 4).dump())
    change(meta, arrays)

    with pytest.raises(ArtifactCorrupt):
        CompiledModel.load(pack(meta, arrays))
