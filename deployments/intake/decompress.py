"""
Gate 1: one compressed stream to bytes, with the output bounded at each step.

The bounds hold on what comes out; sizes that a header declares are never believed.
"""

import bz2
import lzma
import zlib
from typing import Protocol

from lz4.frame import LZ4FrameDecompressor

from deployments.intake.formats import compression
from deployments.intake.limits import MIB, Limits
from deployments.intake.refusals import refusal

_STEP_BYTES = 4 * MIB
_INPUT_BYTES = 256 * 1024


class _Stream(Protocol):
    """What bz2, lzma, lz4 and our zlib adapter have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    """zlib's decompressor in the manner of bz2's and lzma's: it keeps its unconsumed input."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def inflate(content: bytes, limits: Limits) -> bytes:
    """
    The bytes inside, or ``content`` itself where nothing is compressed.

    Raises:
        UploadRefused: gate1; reason "ratio" (too large or too dense), "memlimit" (lzma asks for
            too much memory), "nested" (compressed twice), "trailing" (bytes after the stream)
            or "damaged".
    """
    method = compression(content)
    if method is None:
        return content
    inflated = _read_all(_stream(method, limits), content, limits)
    if compression(inflated) is not None or inflated.startswith(b"PK\x03\x04"):
        raise refusal(
            "gate1: the file is compressed twice: save it once with joblib.dump(…, compress=3)",
            gate="gate1",
            reason="nested",
        )
    return inflated


def _stream(method: str, limits: Limits) -> _Stream:
    memory = limits.max_lzma_memory_bytes
    if method == "gzip":
        return _Zlib(31)
    if method == "zlib":
        return _Zlib(15)
    if method == "bzip2":
        return bz2.BZ2Decompressor()
    if method == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory)
    if method == "lzma":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=memory)
    stream: _Stream = LZ4FrameDecompressor()
    return stream


def _read_all(stream: _Stream, content: bytes, limits: Limits) -> bytes:
    pieces: list[bytes] = []
    total = position = 0
    while not stream.eof:
        chunk = b""
        if stream.needs_input:
            chunk = content[position : position + _INPUT_BYTES]
            position += len(chunk)
        try:
            piece = bytes(stream.decompress(chunk, _STEP_BYTES))
        except (OSError, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise _damaged(error) from error
        total += len(piece)
        _check_size(total, len(content), limits)
        pieces.append(piece)
        if not piece and not stream.eof and stream.needs_input and position >= len(content):
            raise _damaged(None)
    if (stream.unused_data or b"") or position < len(content):
        raise refusal(
            "gate1: bytes follow the compressed stream: save the model again",
            gate="gate1",
            reason="trailing",
        )
    return b"".join(pieces)


def _damaged(error: Exception | None) -> Exception:
    if error is not None and "memory" in str(error).lower():
        return refusal(
            "gate1: the lzma stream asks for too much memory: save it with compress=3",
            gate="gate1",
            reason="memlimit",
        )
    return refusal(
        "gate1: the compressed stream is damaged or cut short: upload the file again",
        gate="gate1",
        reason="damaged",
    )


def _check_size(total: int, stored: int, limits: Limits) -> None:
    if total > limits.max_inflated_bytes:
        raise refusal(
            f"gate1: the file inflates beyond {limits.max_inflated_bytes} bytes: make the model "
            "smaller or ask the operator to raise MAX_MODEL_BYTES",
            gate="gate1",
            reason="ratio",
        )
    dense = total > limits.ratio_free_bytes and total > limits.max_inflation_ratio * stored
    if dense:
        raise refusal(
            f"gate1: the file inflates {total // max(stored, 1)}-fold or more (bound "
            f"{limits.max_inflation_ratio}): save it without compression",
            gate="gate1",
            reason="ratio",
        )
