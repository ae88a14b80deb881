"""Corpus of the intake, cases 48 to 72: damaged, foreign and oversized files."""

import bz2
import gzip
import io
import lzma
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

import joblib
import lz4.frame
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.limits import Limits
from deployments.intake.reader import read_model
from tests.unit.deployments.intake.hostile import call, instance, named, stream, text, value

SMALL = Limits(max_opcodes=100_000, max_inflated_bytes=32 << 20)
LOGISTIC = ("sklearn.linear_model._logistic", "LogisticRegression")


def reason_of(content: bytes, limits: Limits = SMALL) -> str:
    """The word with which gates 0 to 3 refuse ``content``."""
    with pytest.raises(UploadRefused) as refused:
        read_model(content, detect(content), limits=limits)
    return str(refused.value.context["reason"])


@pytest.fixture(scope="module")
def honest() -> bytes:
    x = np.random.default_rng(0).normal(size=(30, 3))
    return pickle.dumps(LogisticRegression().fit(x, x[:, 0] > 0), 5)


def test_48_one_trailing_byte_is_refused(honest: bytes) -> None:
    assert reason_of(honest + b"\x00") == "trailing"


@pytest.mark.parametrize("tenth", range(10))
def test_49_truncated_file_is_refused(honest: bytes, tenth: int) -> None:
    content = honest[: len(honest) * tenth // 10]

    with pytest.raises(UploadRefused):
        read_model(content, detect(content))


def test_50_bit_flips_are_refused_or_harmless(honest: bytes) -> None:
    draw = random.Random(0)
    refused = 0
    for _ in range(1_000):
        flipped = bytearray(honest)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        try:
            read_model(bytes(flipped), detect(bytes(flipped)))
        except UploadRefused:
            refused += 1

    assert refused > 300  # most flips hit a name or an opcode; the rest change a number


def _png_pickle() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + pickle.dumps(LogisticRegression())


def _pickle_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
    return pickle.dumps(LogisticRegression()) + buffer.getvalue()


def _zip_with_prefix() -> bytes:
    return b"PK\x03\x04" + _pickle_zip()


def _zip_with_comment() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.comment = pickle.dumps({"a": 1})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="51 empty"),
        pytest.param(random.Random(1).randbytes(1 << 20), id="52 random"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", id="53 html"),
        pytest.param(_png_pickle(), id="54 png and pickle"),
        pytest.param(_pickle_zip(), id="55 pickle and zip"),
        pytest.param(_zip_with_prefix(), id="55 zip with a prefix"),
        pytest.param(_zip_with_comment(), id="55 zip with a comment"),
        pytest.param(b"PK\x03\x04", id="zip without an end"),
        pytest.param(b"\x80\x09N.", id="pickle of the future"),
    ],
)
def test_51_to_55_foreign_and_double_files_are_refused(content: bytes) -> None:
    assert reason_of(content) == "type"


def test_56_memo_index_bomb_is_refused() -> None:
    assert reason_of(stream(b"Nr\x00\x00\x00\x04")) == "budget"


@pytest.mark.parametrize("length", [1 << 40, 1 << 62])
@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96", b"\x95"])
def test_57_lengths_beyond_the_file_are_refused(opcode: bytes, length: int) -> None:
    assert reason_of(stream(opcode + struct.pack("<Q", length))) == "length"


@pytest.mark.parametrize("opcode", [b"B", b"X", b"\x8b"])
def test_57_four_byte_lengths_beyond_the_file_are_refused(opcode: bytes) -> None:
    assert reason_of(stream(opcode + struct.pack("<I", (1 << 31) - 1))) == "length"


def test_long_integer_is_refused() -> None:
    assert reason_of(stream(b"\x8a\xff" + b"\x01" * 255)) == "budget"


def _dtype(code: str, state: object = (3, "<", None, None, None, -1, -1, 0)) -> bytes:
    return call(named("numpy", "dtype"), value(code), b"\x89", b"\x88") + value(state) + b"b"


def _wrapper(
    shape: object, dtype: bytes, order: str = "C", tail: bytes = b"\x10" + b"\xff" * 16
) -> bytes:
    state = (
        b"}("
        + text("subclass")
        + named("numpy", "ndarray")
        + text("shape")
        + value(shape)
        + text("order")
        + text(order)
        + text("dtype")
        + dtype
        + text("allow_mmap")
        + b"\x89"
        + text("numpy_array_alignment_bytes")
        + b"K\x10"
        + b"u"
    )
    return stream(instance("joblib.numpy_pickle", "NumpyArrayWrapper", state) + tail)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_wrapper((2**37,), _dtype("f8")), id="58 1 TiB"),
        pytest.param(_wrapper((-1,), _dtype("f8")), id="59 negative"),
        pytest.param(_wrapper((2**33, 2**33), _dtype("f8")), id="59 overflowing"),
        pytest.param(_wrapper([4], _dtype("f8")), id="59 a list"),
        pytest.param(_wrapper((4,), _dtype("V0", (3, "|", None, None, None, 0, 1, 0))), id="60 V0"),
        pytest.param(_wrapper((4,), _dtype("f8"), order="K"), id="order"),
        pytest.param(
            _wrapper((1,), _dtype("V8", (3, "|", (np.dtype("f8"), (1,)), None, None, 8, 1, 0))),
            id="61 sub-array",
        ),
        pytest.param(
            _wrapper(
                (1,),
                _dtype("V8", (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)),
            ),
            id="61 object field",
        ),
        pytest.param(
            _wrapper(
                (1,),
                _dtype("M8", (4, "<", None, None, None, -1, -1, 0, ({"x": 1}, (b"s", 1, 1, 1)))),
            ),
            id="61 metadata",
        ),
    ],
)
def test_58_to_61_array_wrappers_that_lie_are_refused(content: bytes) -> None:
    assert reason_of(content) == "array"


def _array(shape: object, code: str, raw: bytes) -> bytes:
    empty = call(
        named("numpy._core.multiarray", "_reconstruct"),
        named("numpy", "ndarray"),
        value((0,)),
        value(b"b"),
    )
    state = (
        b"(K\x01" + value(shape) + _dtype(code) + b"\x89" + b"C" + bytes([len(raw)]) + raw + b"t"
    )
    return stream(empty + state + b"b")


def _frombuffer(length: int, shape: object, code: str = "f8", order: str = "C") -> bytes:
    raw = b"\x96" + struct.pack("<Q", length) + b"\x00" * length
    return stream(
        call(
            named("numpy._core.numeric", "_frombuffer"),
            raw,
            _dtype(code),
            value(shape),
            text(order),
        ),
        protocol=5,
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            stream(
                call(
                    named("numpy._core.multiarray", "_reconstruct"),
                    named("numpy", "ndarray"),
                    value((2**40,)),
                    value(b"d"),
                )
            ),
            id="62 allocation",
        ),
        pytest.param(_array((4,), "f8", b"\x00" * 31), id="63 short"),
        pytest.param(_array((4,), "f8", b"\x00" * 40), id="63 long"),
        pytest.param(_array((4,), "f8,f8", b"\x00" * 64), id="63 comma dtype"),
        pytest.param(_frombuffer(31, (4,)), id="64 short"),
        pytest.param(_frombuffer(40, (4,)), id="64 long"),
        pytest.param(_frombuffer(8, (2**61, 2**3)), id="64 overflowing"),
        pytest.param(_frombuffer(32, (4,), order="X"), id="64 order"),
        pytest.param(_frombuffer(32, (4,), code="O"), id="64 objects"),
    ],
)
def test_62_to_64_arrays_whose_bytes_do_not_fit_are_refused(content: bytes) -> None:
    assert reason_of(content) == "array"


def test_65_hash_bomb_is_refused() -> None:
    doubling = (
        b"N"
        + b"\x94h\x00\x86" * 1
        + b"".join(b"\x94h" + bytes([n]) + b"\x86" for n in range(1, 40))
    )
    content = stream(b"}\x94" * 0 + b"}" + doubling + b"Ns")

    assert reason_of(content) == "key"


@pytest.mark.parametrize(
    ("number", "content", "reason"),
    [
        ("66", stream(b"N" + b"\x85" * 2_000), "budget"),
        ("66 lists", stream(b"]" * 3_000 + b"a" * 2_999), "budget"),
        ("67", stream(b"]" + b"Na" * 60_000), "budget"),
        ("stack", stream(b"N" * 100_001), "budget"),
        ("marks", stream(b"(" * 100_001), "budget"),
        ("68 list", stream(b"]\x94h\x00a"), "root"),
        ("68 dict", stream(b"}\x94" + text("a") + b"h\x00s"), "root"),
        ("68 key", stream(b"}\x94h\x00Ns"), "key"),
    ],
)
def test_66_to_68_nesting_and_length_are_bounded(number: str, content: bytes, reason: str) -> None:
    limits = Limits(max_opcodes=200_000) if number in {"stack", "marks"} else SMALL

    assert reason_of(content, limits) == reason


def test_68_integers_made_to_collide_are_refused_as_keys() -> None:
    assert reason_of(stream(b"}" + value((1 << 61) - 1) + b"Ns")) == "key"


ZEROS = 48 << 20


def _dictionary_bomb() -> bytes:
    # Properties byte, 4 GiB - 1 dictionary, unknown size: the memory limit must stop it.
    return b"\x5d" + struct.pack("<I", 0xFFFFFF00) + b"\xff" * 8 + b"\x00" * 64


@pytest.mark.parametrize(
    ("number", "build", "reason"),
    [
        ("69 gzip", lambda: gzip.compress(bytes(ZEROS)), "ratio"),
        ("69 zlib", lambda: zlib.compress(bytes(ZEROS)), "ratio"),
        ("69 bz2", lambda: bz2.compress(bytes(ZEROS)), "ratio"),
        ("69 xz", lambda: lzma.compress(bytes(ZEROS)), "ratio"),
        ("69 lzma", lambda: lzma.compress(bytes(ZEROS), lzma.FORMAT_ALONE), "ratio"),
        ("69 lz4", lambda: lz4.frame.compress(bytes(ZEROS)), "ratio"),
        ("70", lambda: gzip.compress(gzip.compress(b"\x80\x04N.")), "nested"),
        ("70 zip", lambda: gzip.compress(_pickle_zip()[:0] + b"PK\x03\x04"), "nested"),
        ("71", lambda: gzip.compress(b"\x80\x04N.") * 2, "trailing"),
        ("71 lz4", lambda: lz4.frame.compress(b"\x80\x04N.") * 2, "trailing"),
        ("72", _dictionary_bomb, "memlimit"),
        ("cut", lambda: gzip.compress(bytes(10_000))[:-4], "damaged"),
        ("cut lz4", lambda: lz4.frame.compress(bytes(10_000))[:-4], "damaged"),
        ("header lz4", lambda: b"\x04\x22\x4d\x18" + b"\x00" * 64, "damaged"),
        ("crc", lambda: gzip.compress(b"\x80\x04N.")[:-8] + b"\x00" * 8, "damaged"),
    ],
)
def test_69_to_72_compression_bombs_are_refused(
    number: str, build: Callable[[], bytes], reason: str
) -> None:
    assert reason_of(build()) == reason


@pytest.mark.parametrize(
    "compress",
    [0, 1, 3, 9, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3), "lz4", ("lz4", 9)],
)
def test_every_compressor_of_joblib_is_read(
    compress: int | str | tuple[str, int],
) -> None:
    x = np.random.default_rng(0).normal(size=(30, 3))
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=compress)
    content = buffer.getvalue()

    assert detect(content) == "joblib"
    loaded = read_model(content, "joblib")
    assert isinstance(loaded, LogisticRegression)
    assert loaded.coef_.tobytes() == model.coef_.tobytes()
