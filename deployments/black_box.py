"""
What a Predictor leaves behind when it dies: the versions it was executing, and a crash's trace.

Two small files of mode 0600 on the node it ran on, named by its actor id.  The first is mapped, so
noting a call costs a copy of some bytes and outlives the process; the second is written by
Python's own handler of fatal signals.  SIGKILL and the kernel's want of memory leave no trace.
"""

import faulthandler
import fcntl
import logging
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.private_files import PRIVATE_FILE, private_directory
from cluster.settings import Settings

logger = logging.getLogger(__name__)

#: ``<model id>/<version>`` and room for a long version.
SLOT_BYTES = 64
#: What faulthandler writes of the signals that a library's own fault raises.  An abort is not
#: among them: it is also how C++ ends when memory runs out.
FAULTS = (b"Segmentation fault", b"Bus error", b"Illegal instruction", b"Floating")
#: Boxes of the dead are of use for seconds; nobody's is older than this.
KEPT_S = 600.0
_TRACE_BYTES = 4096
_NEW = os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, kw_only=True, slots=True)
class LastWords:
    """What is known of a dead replica."""

    #: Keys of the versions that were executing, each once.
    executing: frozenset[str]
    #: Whether it died of its own native code; False for SIGKILL and lack of memory.
    is_native_crash: bool


class BlackBox:
    """
    The notes of one living Predictor; notes nothing where it has no files.

    Args:
        directory: Shared by the replicas of a node; made if it is missing.
        actor_id: Names the files; Ray's errors name it too.
        slots: Calls that may execute at a time; further ones go unnoted.
    """

    def __init__(self, directory: Path | None, actor_id: str = "", *, slots: int = 0) -> None:
        self._files = None if directory is None else _Files(directory, actor_id, slots=slots)
        self._free = list(range(slots)) if self._files is not None else []

    @classmethod
    def of_replica(cls, settings: Settings, actor_id: str | None, *, slots: int) -> Self:
        """The box of a replica in Serve; elsewhere, and on a full disk, one that notes nothing."""
        if actor_id is None:
            return cls(None)
        try:
            return cls(box_directory(settings), actor_id, slots=slots)
        except OSError as error:
            # Then nobody is suspected of this replica's death; no prediction fails for it.
            logger.warning("no black box: %s", error)
            return cls(None)

    @contextmanager
    def executing(self, key: str) -> Iterator[None]:
        """While inside, ``key`` is what this replica executes."""
        if self._files is None or not self._free:
            yield
            return
        slot = self._free.pop()
        self._files.note(slot, key.encode()[:SLOT_BYTES])
        try:
            yield
        finally:
            if self._files is not None:
                self._files.note(slot, b"")
            self._free.append(slot)

    def close(self) -> None:
        """Remove the box of a replica that ends in order; safe to repeat."""
        if self._files is not None:
            self._files.remove()
            self._files = None


class _Files:
    def __init__(self, directory: Path, actor_id: str, *, slots: int) -> None:
        prune(private_directory(directory))
        self._notes = _notes_of(directory, actor_id)
        self._trace = _trace_of(directory, actor_id)
        self._descriptor = os.open(self._notes, _NEW | os.O_RDWR, PRIVATE_FILE)
        # Held for life: an unlocked box is a dead one's.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Reserved now: a full disk must fail here and not at the first note, by SIGBUS.
        os.posix_fallocate(self._descriptor, 0, slots * SLOT_BYTES)
        self._map = mmap.mmap(self._descriptor, slots * SLOT_BYTES)
        self._trace_descriptor = os.open(self._trace, _NEW | os.O_WRONLY, PRIVATE_FILE)
        faulthandler.enable(self._trace_descriptor, all_threads=False)

    def note(self, slot: int, key: bytes) -> None:
        start = slot * SLOT_BYTES
        self._map[start : start + SLOT_BYTES] = key.ljust(SLOT_BYTES, b"\0")

    def remove(self) -> None:
        faulthandler.disable()
        self._map.close()
        os.close(self._descriptor)
        os.close(self._trace_descriptor)
        self._notes.unlink(missing_ok=True)
        self._trace.unlink(missing_ok=True)


def box_directory(settings: Settings) -> Path:
    """Where the Predictors of a node keep their boxes."""
    return settings.slipway_home / "replicas"


def find_last_words(directory: Path, actor_id: str) -> LastWords | None:
    """What a dead replica left; ``None`` if it ran on another node, or left nothing."""
    try:
        notes = _notes_of(directory, actor_id).read_bytes()
        with _trace_of(directory, actor_id).open("rb") as file:
            trace = file.read(_TRACE_BYTES)
    except OSError:
        return None
    slots = (notes[at : at + SLOT_BYTES] for at in range(0, len(notes), SLOT_BYTES))
    keys = (slot.rstrip(b"\0").decode(errors="replace") for slot in slots if slot[:1] != b"\0")
    return LastWords(
        executing=frozenset(keys), is_native_crash=any(fault in trace for fault in FAULTS)
    )


def prune(directory: Path) -> None:
    """Remove the boxes of the long dead."""
    for notes in directory.glob("*.executing"):
        with suppress(OSError), notes.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - notes.stat().st_mtime > KEPT_S:
                notes.unlink()
                notes.with_suffix(".trace").unlink(missing_ok=True)


def _notes_of(directory: Path, actor_id: str) -> Path:
    return directory / f"{_safe(actor_id)}.executing"


def _trace_of(directory: Path, actor_id: str) -> Path:
    return directory / f"{_safe(actor_id)}.trace"


def _safe(actor_id: str) -> str:
    if not actor_id.isalnum():
        raise ValueError(f"no actor id: {actor_id[:80]!r}")
    return actor_id
