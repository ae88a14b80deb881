"""Bytes on their way, in pieces: cut to one size, counted and hashed, watched."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

PIECE_BYTES = 1024 * 1024
#: Files that are worked on at a time, each whole in memory: one is hashed while another is written.
FILES_AT_A_TIME = 2

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def side_by_side(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT]
) -> Iterator[tuple[ItemT, ResultT]]:
    """Each item with what ``work`` gave for it, in order; the first error ends it, by raising."""
    listed = list(items)
    with ThreadPoolExecutor(FILES_AT_A_TIME, thread_name_prefix="backup") as threads:
        try:
            yield from zip(listed, threads.map(work, listed), strict=True)
        finally:
            threads.shutdown(cancel_futures=True)


def recut(chunks: Iterable[bytes], size: int = PIECE_BYTES) -> Iterator[bytes]:
    """The same bytes in pieces of ``size``; the last may be shorter."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


def pieces(content: bytes) -> Iterator[bytes]:
    """Content that lies in memory, in pieces."""
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


@dataclass(kw_only=True)
class Digest:
    """Size and SHA-256 of what has passed."""

    size_bytes: int = 0
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Hex digest so far."""
        return self._hash.hexdigest()

    def pass_through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, counted."""
        for chunk in chunks:
            self._hash.update(chunk)
            self.size_bytes += len(chunk)
            yield chunk


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Who looks on: a person's progress bar, and the tests that kill at every step."""

    #: Called with the name of each step before it is taken.
    at: Callable[[str], None] = lambda _step: None
    #: Called with what is being done, bytes done and bytes in all.
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None
