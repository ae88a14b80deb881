"""Which stored files are garbage; the registry is a set of digests."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.artifacts import object_key
from cluster.artifacts_files import FileArtifacts
from cluster.backup.garbage import KEEP_S, collect_garbage

NOW_S = 2_000_000_000.0


@dataclass(kw_only=True)
class Digests:
    """What versions refer to."""

    known: set[str] = field(default_factory=set)
    is_locked: bool = False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        self.is_locked = True
        yield
        self.is_locked = False

    def referred(self) -> frozenset[str]:
        assert self.is_locked
        return frozenset(self.known)


def stored(root: Path, content: bytes, *, age_s: float) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    FileArtifacts(root).put(content, sha256)
    os.utime(root / object_key(sha256), (NOW_S - age_s, NOW_S - age_s))
    return sha256


def test_what_nobody_refers_to_goes_after_a_week(tmp_path: Path) -> None:
    old = stored(tmp_path, b"old", age_s=KEEP_S + 1)
    young = stored(tmp_path, b"young", age_s=KEEP_S - 1)
    needed = stored(tmp_path, b"needed", age_s=10 * KEEP_S)
    store = FileArtifacts(tmp_path)

    collected = collect_garbage(Digests(known={needed}), store, now_s=NOW_S)

    assert (collected.files, collected.size_bytes) == (1, 3)
    assert [store.has(sha256) for sha256 in (old, young, needed)] == [False, True, True]


def test_a_rehearsal_deletes_nothing(tmp_path: Path) -> None:
    old = stored(tmp_path, b"old", age_s=KEEP_S + 1)
    store = FileArtifacts(tmp_path)

    collected = collect_garbage(Digests(), store, is_rehearsal=True, now_s=NOW_S)

    assert collected.files == 1
    assert store.has(old)


def test_a_file_that_is_stored_again_is_young_again(tmp_path: Path) -> None:
    sha256 = stored(tmp_path, b"again", age_s=KEEP_S + 1)
    store = FileArtifacts(tmp_path)
    store.put(b"again", sha256)

    collected = collect_garbage(Digests(), store)

    assert collected.files == 0
    assert store.has(sha256)
