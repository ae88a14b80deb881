"""
Finds the query of death: tries what a crashed replica was executing, alone, in the sandbox.

    a replica dies ─► was the version executing there, and did native code crash?  else: no suspect
      ─► its batch is replayed in a Loader's sandbox; calls of that version wait meanwhile
           crash again ─► quarantine          no crash, sole suspect ─► charged; twice ─► quarantine
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cluster.contracts import Batch, Method, PredictCall, Signature, VersionRef
from cluster.errors import ModelQuarantined, PlatformError
from cluster.metrics import QUARANTINES
from deployments.black_box import LastWords
from deployments.intake.outcomes import Replay
from serve_app.registry.changes import EVERYTHING

logger = logging.getLogger(__name__)

#: A version under suspicion gets one more try alone for this long after a crash.
SUSPECT_S = 60.0
#: Deaths of different replicas, as sole suspect, that condemn without a replay's proof.
CHARGES_TO_CONDEMN = 2
#: Calls that were resolved before the quarantine are gone by then.
BRIDGE_S = 5.0
#: Where the registry could not be written, this process alone holds the version back.
ALONE_S = 60.0
TRIALS_AT_A_TIME = 2
REMEMBERED_DEATHS = 1000


class Replays(Protocol):
    """Where a batch is tried alone: the Loaders port."""

    async def replay(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Replay:
        """How it ends."""
        ...


class Registry(Protocol):
    """Where charges and quarantines are kept."""

    async def charge(self, version: VersionRef, replica_id: str) -> int:
        """Different replicas charged to the version by now, this one included."""
        ...

    async def quarantine(self, version: VersionRef, *, reason: str, replica_id: str) -> bool:
        """Hold it back for every ingress; True if it was ready until now."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Death:
    call: PredictCall
    replica_id: str
    is_sole_suspect: bool


class Trials:
    """
    The trials of one ingress replica.

    Args:
        loaders: Replays batches in a sandbox.
        registry: Keeps what comes of it.
        find_last_words: What a dead replica left, by its actor id; blocks for a file.
        clock: Seconds.
    """

    def __init__(
        self,
        loaders: Replays,
        registry: Registry,
        *,
        find_last_words: Callable[[str], LastWords | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaders = loaders
        self._registry = registry
        self._find_last_words = find_last_words
        self._clock = clock
        self._turns = asyncio.Semaphore(TRIALS_AT_A_TIME)
        self._pending: dict[str, asyncio.Task[None]] = {}
        #: Deaths that had their trial: each caller who was there tells of it.
        self._tried: OrderedDict[tuple[str, str], None] = OrderedDict()
        #: version key -> until when.
        self._suspected: dict[str, float] = {}
        self._condemned: dict[str, float] = {}
        #: Of those, the ones whose quarantine every ingress has read: the registry speaks for them.
        self._settled: set[str] = set()
        self._quarantined_s: deque[float] = deque(maxlen=REMEMBERED_DEATHS)

    @property
    def recent_quarantines(self) -> int:
        """Versions that this replica found guilty in the last minute."""
        since_s = self._clock() - SUSPECT_S
        return sum(at_s > since_s for at_s in self._quarantined_s)

    def on_change(self, kind: str, subject: str) -> None:
        """
        A model changed: what the registry holds back is held back no longer here.

        Else a release within ``BRIDGE_S`` of the quarantine would have been acknowledged, and
        calls refused all the same.
        """
        if kind == "model" and self._settled:
            for key in [k for k in self._settled if subject in (EVERYTHING, _model_id(k))]:
                self._settled.discard(key)
                self._condemned.pop(key, None)

    async def admit(self, version: VersionRef) -> None:
        """
        Return when the version may be called; at once where none is on trial.

        Raises:
            ModelQuarantined: It was found guilty just now.
        """
        if not self._pending and not self._condemned:
            return
        while (trial := self._pending.get(version.key)) is not None:
            await asyncio.wait({trial})
        if self._is_within(self._condemned, version.key):
            raise ModelQuarantined(
                f"version {version.version} of this model crashed its process and is held back: "
                "upload a new version, or have its owner release this one",
                retry_after_s=60,
            )

    async def hear(self, call: PredictCall, replica_id: str) -> None:
        """
        A replica was lost with this call in flight; return when the call may be tried again.

        Raises:
            ModelQuarantined: As ``admit``.
        """
        words = await asyncio.to_thread(self._find_last_words, replica_id)
        key = call.version.key
        # Without a trace it was killed from outside, or lay on another node: no reason to suspect.
        if words is None or not words.is_native_crash or key not in words.executing:
            return
        self._suspected[key] = self._clock() + SUSPECT_S
        if key not in self._pending and (key, replica_id) not in self._tried:
            self._tried[key, replica_id] = None
            if len(self._tried) > REMEMBERED_DEATHS:
                self._tried.popitem(last=False)
            death = _Death(
                call=call, replica_id=replica_id, is_sole_suspect=words.executing == {key}
            )
            task = asyncio.get_running_loop().create_task(self._try(death))
            self._pending[key] = task
            task.add_done_callback(lambda _: self._pending.pop(key, None))
        await self.admit(call.version)

    def was_charged(self, version_key: str) -> bool:
        """Whether a replica crashed with the version in the last minute."""
        return self._is_within(self._suspected, version_key)

    async def close(self) -> None:
        """Give up what is pending."""
        for task in list(self._pending.values()):
            task.cancel()
        await asyncio.gather(*self._pending.values(), return_exceptions=True)

    def _is_within(self, until: dict[str, float], key: str) -> bool:
        if key not in until:
            return False
        if self._clock() < until[key]:
            return True
        del until[key]
        return False

    async def _try(self, death: _Death) -> None:
        try:
            async with self._turns:
                await self._judge(death)
        except PlatformError as error:
            # Nothing is known: the version goes on under suspicion, with one more try alone.
            logger.warning(
                "no verdict on a crash: %s",
                error.message,
                extra={"model": death.call.version.key, "replica": death.replica_id},
            )

    async def _judge(self, death: _Death) -> None:
        call = death.call
        replay = await self._loaders.replay(call.version, call.signature, call.method, call.batch)
        logger.warning(
            "a replica crashed while executing a version",
            extra={
                "model": call.version.key,
                "replica": death.replica_id,
                "replay": replay.reason,
                "request_ids": call.request_ids,
            },
        )
        if replay.is_crash:
            await self._condemn(death, "replay")
        elif death.is_sole_suspect:
            charges = await self._registry.charge(call.version, death.replica_id)
            if charges >= CHARGES_TO_CONDEMN:
                await self._condemn(death, "charges")

    async def _condemn(self, death: _Death, reason: str) -> None:
        version = death.call.version
        self._settled.discard(version.key)
        self._condemned[version.key] = self._clock() + ALONE_S
        self._quarantined_s.append(self._clock())
        QUARANTINES.record(1, reason=reason)
        await self._registry.quarantine(version, reason=reason, replica_id=death.replica_id)
        self._condemned[version.key] = self._clock() + BRIDGE_S
        self._settled.add(version.key)


def _model_id(version_key: str) -> str:
    return version_key.rpartition("/")[0]
