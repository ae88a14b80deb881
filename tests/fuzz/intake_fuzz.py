"""
Mutation fuzzer of the intake: ``python -m tests.fuzz.intake_fuzz --cases 200000 --seed 1``.

Honest files of all four formats are changed by seeded mutations and read in forked children, a
chunk each, so that a crash kills a child and is seen.  The one answer that is right is an
estimator or an UploadRefused; an escape is a marker file, a changed class, another exception, a
dead child or a chunk beyond its time.  The last line printed is one JSON object of counts; the
exit code is 1 if anything escaped.
"""

import argparse
import io
import json
import os
import pickle
import random
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
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

from cluster.contracts import ArtifactFormat
from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.limits import MIB, Limits
from deployments.intake.reader import read_model

CHUNK = 200
CHUNK_CPU_S = 60
CHILD_MEMORY_BYTES = 4096 * MIB
LIMITS = Limits(max_opcodes=200_000, max_inflated_bytes=16 * MIB, max_array_bytes=16 * MIB)
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
        for compress in (0, 3):
            buffer = io.BytesIO()
            joblib.dump(model, buffer, compress=compress)
            found.append(("joblib", buffer.getvalue()))
        found.append(("skops", skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED)))
        found.append(("skops", skops.io.dumps(model)))
    return (*found, ("onnx", _onnx()))


def _onnx() -> bytes:
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
    """Case ``number``: (format, bytes); the same for the same numbers everywhere."""
    draw = random.Random(seed * 1_000_003 + number)
    format_, content = draw.choice(seeds())
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


def try_case(number: int, seed: int) -> str:
    """How case ``number`` ends: "accepted", "refused:<reason>", or an escape's description."""
    declared, content = mutated(number, seed)
    try:
        format_: ArtifactFormat = detect(content)
        read_model(content, format_, limits=LIMITS)
    except UploadRefused as refused:
        return f"refused:{refused.context.get('reason')}"
    except BaseException as error:  # noqa: BLE001 - anything else is what the fuzzer looks for
        return f"escape:{declared}:{type(error).__name__}"
    return "accepted"


def _child(first: int, last: int, seed: int, pipe: int) -> None:
    os.chdir(tempfile.gettempdir())
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CHUNK_CPU_S, CHUNK_CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.addaudithook(_watch)
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    for number in range(first, last):
        ending = try_case(number, seed)
        counts[f"{ending} #{number}" if ending.startswith("escape") else ending] += 1
    os.write(pipe, json.dumps(counts).encode())


#: What a reader of bytes never does; the audit hook of CPython sees it whoever asks for it.
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "socket.", "exec")


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "exec" and getattr(args[0], "co_filename", "").startswith(("/", "<frozen")):
        return  # a module being imported from the installation
    if event.startswith(_FORBIDDEN):
        os.write(2, f"forbidden event {event} {args!r}\n".encode())
        os._exit(99)


def chunks(cases: int, seed: int) -> Iterator[Counter[str]]:
    """Counts of one forked child after the other."""
    for first in range(0, cases, CHUNK):
        last = min(first + CHUNK, cases)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                _child(first, last, seed, writer)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(pid, 0)
        if status != 0 or not said:
            yield Counter({f"escape:child died with status {status} in #{first}-{last}": 1})
        else:
            yield Counter(json.loads(said))


def run(cases: int, seed: int) -> dict[str, Any]:
    """All counts of a run, and the seconds it took."""
    for _, content in seeds():
        # Honest, and read here once, so that all is imported before the children lose files.
        read_model(content, detect(content), limits=LIMITS)
    start = time.monotonic()
    total: Counter[str] = Counter()
    for counts in chunks(cases, seed):
        total += counts
    escapes = [key for key in total if key.startswith("escape")]
    plain = {key: count for key, count in sorted(total.items()) if key not in escapes}
    return {
        "cases": cases,
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "escapes": escapes,
        **plain,
    }


def main(argv: list[str] | None = None) -> int:
    """Run, print one JSON object, say by the exit code whether anything escaped."""
    parser = argparse.ArgumentParser(description="mutation fuzzer of the intake")
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    counts = run(options.cases, options.seed)
    line = json.dumps(counts)
    if options.output is not None:
        options.output.write_text(line + "\n", encoding="utf-8")
    print(line)
    return 1 if counts["escapes"] else 0


if __name__ == "__main__":
    sys.exit(main())
