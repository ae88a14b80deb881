"""
Which version a call means, answered from memory in a microsecond.

Filled on demand, dropped by change messages, refreshed by age, and kept while the registry is away.
An entry is trusted without asking while this replica follows the changes; a fill that a change
overtook is not kept; "there is none" is not believed beyond the sequence at which it was read.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from cluster.errors import ModelNotFound, Overloaded, RegistryUnavailable
from cluster.metrics import FAIL_OPEN
from serve_app.registry.changes import EVERYTHING, ChangeFollower
from serve_app.registry.database import Database
from serve_app.registry.recent_models import recent_models
from serve_app.registry.resolution import Found, ResolvedVersion, VersionParts, find_version
from serve_app.registry.visibility import Viewer

__all__ = ["Catalog", "ResolvedVersion"]

MAX_ENTRIES = 20_000
#: Seconds after which an entry that nothing dropped is read again, in the background.
REFRESH_S = 60.0
#: Seconds that a prediction waits for a registry that hesitates, when there is an older answer.
PATIENCE_S = 0.25
#: Seconds during which the older answer then does without asking again.
PAUSE_S = 1.0

_Key = tuple[str, str, str | int | None]


@dataclass(slots=True)
class _Entry:
    version: ResolvedVersion
    needs_admin: bool
    refresh_at: float
    #: Clock reading until which the registry is not to be asked.
    paused_until: float = 0.0


@dataclass(slots=True, eq=False)
class _Fill:
    """A read under way, and what changed meanwhile."""

    task: asyncio.Task[Found]
    sequence: int
    overtaken: set[str] = field(default_factory=set)


class Catalog:
    """The registry's answers as one ingress replica knows them; used on its event loop alone."""

    def __init__(
        self,
        database: Database,
        follower: ChangeFollower,
        *,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._follower = follower
        self._max_entries = max_entries
        self._clock = clock
        self._parts = VersionParts()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._keys: dict[str, set[_Key]] = {}
        #: Key -> the sequence at which there was nothing.
        self._absent: dict[_Key, tuple[int, ModelNotFound]] = {}
        #: Reads that a newcomer may join; one begun before a change is not among them.
        self._joinable: dict[_Key, _Fill] = {}
        self._fills: set[_Fill] = set()
        follower.subscribe(self._on_change)

    def find_cached(
        self, viewer: Viewer, model: str, version: str | int | None
    ) -> ResolvedVersion | None:
        """The version if it is known and may be trusted now; None means ``resolve``."""
        key = (viewer.user_id, model, version)
        entry = self._entries.get(key)
        if entry is None or not _may_use(viewer, entry):
            return None
        now = self._clock()
        if now < self._follower.live_until:
            if now >= entry.refresh_at:
                entry.refresh_at = now + REFRESH_S
                self._fill(key, viewer)
            return entry.version
        return entry.version if now < entry.paused_until else None

    async def resolve(
        self, viewer: Viewer, model: str, version: str | int | None = None
    ) -> ResolvedVersion:
        """
        The version that a caller means.

        Args:
            viewer: Who asks.
            model: A name of the caller's own, or an id.
            version: A number or an alias; none for ``production``.

        Raises:
            ModelNotFound: If there is no such model, version or alias for this caller.
            RegistryUnavailable: If it is not known and cannot be asked for.
        """
        cached = self.find_cached(viewer, model, version)
        if cached is not None:
            return cached
        key = (viewer.user_id, model, version)
        self._refuse_absent(key, viewer)
        entry = self._entries.get(key)
        if entry is not None and _may_use(viewer, entry):
            return await self._refreshed(key, viewer, entry)
        return await self._asked(key, viewer)

    async def preload(self) -> int:
        """
        Know the models of the last hour as their owners name them; returns how many.

        Raises:
            RegistryUnavailable: None is known by this.
        """
        used = await self._database.read(recent_models)
        for owner, name in used:
            with suppress(ModelNotFound):
                await self.resolve(owner, name)
        return len(used)

    async def _refreshed(self, key: _Key, viewer: Viewer, entry: _Entry) -> ResolvedVersion:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._asked(key, viewer)
        except (TimeoutError, RegistryUnavailable, Overloaded):
            entry.paused_until = self._clock() + PAUSE_S
            FAIL_OPEN.record(what="catalog")
            return entry.version

    async def _asked(self, key: _Key, viewer: Viewer) -> ResolvedVersion:
        fill = self._joinable.get(key) if _is_plain(viewer) else None
        if fill is None:
            fill = self._fill(key, viewer)
        # Shielded: others may be waiting for the same read.
        return (await asyncio.shield(fill.task)).version

    def _refuse_absent(self, key: _Key, viewer: Viewer) -> None:
        absent = self._absent.get(key)
        if absent is None or not _is_plain(viewer) or not self._follower.is_live:
            return
        sequence, error = absent
        if sequence == self._follower.applied:
            raise ModelNotFound(error.message, **error.context)

    def _fill(self, key: _Key, viewer: Viewer) -> _Fill:
        task = asyncio.create_task(self._read(key, viewer))
        fill = _Fill(task=task, sequence=self._follower.applied)
        self._fills.add(fill)
        if _is_plain(viewer):
            self._joinable[key] = fill
        task.add_done_callback(lambda _: self._on_filled(key, viewer, fill))
        return fill

    async def _read(self, key: _Key, viewer: Viewer) -> Found:
        _, model, version = key
        return await self._database.read(
            lambda session: find_version(session, viewer, model, version, self._parts)
        )

    def _on_filled(self, key: _Key, viewer: Viewer, fill: _Fill) -> None:
        self._fills.discard(fill)
        if self._joinable.get(key) is fill:
            del self._joinable[key]
        if fill.task.cancelled():
            return
        error = fill.task.exception()
        if isinstance(error, ModelNotFound):
            self._keep_absent(key, viewer, fill, error)
        elif error is None:
            self._keep(key, fill, fill.task.result())

    def _keep(self, key: _Key, fill: _Fill, found: Found) -> None:
        model_id = found.version.model_id
        if EVERYTHING in fill.overtaken or model_id in fill.overtaken:
            return
        self._entries[key] = _Entry(
            version=found.version,
            needs_admin=found.needs_admin,
            refresh_at=self._clock() + REFRESH_S,
        )
        self._entries.move_to_end(key)
        self._keys.setdefault(model_id, set()).add(key)
        while len(self._entries) > self._max_entries:
            old_key, old = self._entries.popitem(last=False)
            self._forget_key(old.version.model_id, old_key)

    def _keep_absent(self, key: _Key, viewer: Viewer, fill: _Fill, error: ModelNotFound) -> None:
        # Also a model that was just deleted, seen by a refresh before its change message.
        entry = self._entries.pop(key, None) if _is_plain(viewer) else None
        if entry is not None:
            self._forget_key(entry.version.model_id, key)
        if not _is_plain(viewer) or fill.sequence != self._follower.applied:
            return
        if len(self._absent) >= self._max_entries:
            self._absent.clear()
        self._absent[key] = (fill.sequence, error)

    def _on_change(self, kind: str, subject: str) -> None:
        self._absent.clear()
        if kind != "model":
            return
        self._joinable.clear()
        for fill in self._fills:
            fill.overtaken.add(subject)
        if subject == EVERYTHING:
            self._entries.clear()
            self._keys.clear()
            return
        for key in self._keys.pop(subject, ()):
            self._entries.pop(key, None)

    def _forget_key(self, model_id: str, key: _Key) -> None:
        keys = self._keys.get(model_id)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._keys[model_id]


def _may_use(viewer: Viewer, entry: _Entry) -> bool:
    if viewer.models is not None and entry.version.ref.model_id not in viewer.models:
        return False
    return not entry.needs_admin or viewer.is_admin


def _is_plain(viewer: Viewer) -> bool:
    # What a tied key or an admin is told need not hold for the same account's other credentials.
    return viewer.models is None and not viewer.is_admin
