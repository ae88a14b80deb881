"""The trial of a version for a replica's death: who is suspected, charged, held back."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.contracts import PredictCall, VersionRef
from cluster.errors import ModelQuarantined, PlatformError, RegistryUnavailable, ReplicaUnavailable
from deployments.black_box import LastWords
from deployments.intake.outcomes import Replay
from serve_app.registry.changes import EVERYTHING
from serve_app.retries import RetryingPredictor
from serve_app.trials import ALONE_S, BRIDGE_S, SUSPECT_S, Trials
from tests.unit.serve_app.predicting import rows_of, signature, version_ref

pytestmark = pytest.mark.anyio
CRASH = Replay(is_crash=True, reason="crash")
ANSWER = Replay(is_crash=False, reason="answered")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Court:
    """A Loader that replays as told, a registry that remembers, and dead replicas' words."""

    replays: list[Replay | PlatformError] = field(default_factory=list)
    replayed: list[tuple[Any, ...]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    charges: set[tuple[str, str]] = field(default_factory=set)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    is_registry_away: bool = False
    words: dict[str, LastWords] = field(default_factory=dict)

    async def replay(self, *arguments: Any) -> Replay:
        self.replayed.append(arguments)
        self.has_begun.set()
        await self.gate.wait()
        replay = self.replays.pop(0)
        if isinstance(replay, PlatformError):
            raise replay
        return replay

    async def charge(self, version: VersionRef, replica_id: str) -> int:
        self.charges.add((version.key, replica_id))
        return sum(key == version.key for key, _ in self.charges)

    async def quarantine(self, version: VersionRef, *, reason: str, replica_id: str) -> bool:
        if self.is_registry_away:
            raise RegistryUnavailable("away")
        self.quarantined.append((version.key, reason))
        return bool(replica_id)

    def crashed(self, replica_id: str, *executing: str) -> None:
        self.words[replica_id] = LastWords(executing=frozenset(executing), is_native_crash=True)

    def killed(self, replica_id: str, *executing: str) -> None:
        self.words[replica_id] = LastWords(executing=frozenset(executing), is_native_crash=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def court() -> Court:
    made = Court()
    made.gate.set()
    return made


@pytest.fixture
def trials(court: Court, clock: Clock) -> Trials:
    return Trials(court, court, find_last_words=court.words.get, clock=clock)


def call() -> PredictCall:
    return PredictCall(
        version=version_ref(),
        signature=signature(),
        method="predict",
        batch=rows_of(1.0),
        timeout_s=5,
    )


async def test_a_reproduced_crash_quarantines_at_once(court: Court, trials: Trials) -> None:
    court.crashed("r1", "m/1", "other/1")
    court.replays = [CRASH]
    with pytest.raises(ModelQuarantined):
        await trials.hear(call(), "r1")

    assert court.quarantined == [("m/1", "replay")]
    assert court.charges == set()
    assert trials.recent_quarantines == 1


async def test_what_does_not_reproduce_is_charged_to_a_sole_suspect(
    court: Court, trials: Trials
) -> None:
    court.crashed("r1", "m/1")
    court.replays = [ANSWER]
    await trials.hear(call(), "r1")

    assert court.charges == {("m/1", "r1")}
    assert court.quarantined == []
    assert trials.was_charged("m/1")


async def test_two_different_replicas_condemn_a_sole_suspect(court: Court, trials: Trials) -> None:
    court.replays = [ANSWER, ANSWER]
    court.crashed("r1", "m/1")
    court.crashed("r2", "m/1")
    await trials.hear(call(), "r1")
    await trials.hear(call(), "r1")  # the same death again, as another call saw it
    assert court.quarantined == []
    with pytest.raises(ModelQuarantined):
        await trials.hear(call(), "r2")

    assert court.quarantined == [("m/1", "charges")]


async def test_one_of_several_suspects_is_never_charged(court: Court, trials: Trials) -> None:
    court.replays = [ANSWER] * 5
    for n in range(5):
        court.crashed(f"r{n}", "m/1", "other/1")
        await trials.hear(call(), f"r{n}")

    assert (court.charges, court.quarantined) == (set(), [])


async def test_ten_kills_from_outside_make_no_suspect(court: Court, trials: Trials) -> None:
    for n in range(10):
        court.killed(f"r{n}", "m/1")
        await trials.hear(call(), f"r{n}")

    assert (court.replayed, court.charges, court.quarantined) == ([], set(), [])
    assert not trials.was_charged("m/1")


async def test_who_only_waited_is_no_suspect(court: Court, trials: Trials) -> None:
    court.crashed("r1", "other/1")
    await trials.hear(call(), "r1")

    assert court.replayed == []


async def test_a_death_on_another_node_has_no_witness(court: Court, trials: Trials) -> None:
    await trials.hear(call(), "elsewhere")

    assert court.replayed == []


@pytest.mark.parametrize("reason", ["memory", "cpu", "timeout", "raised"])
async def test_a_replay_that_ends_otherwise_is_no_crash(
    court: Court, trials: Trials, reason: Any
) -> None:
    court.crashed("r1", "m/1", "other/1")
    court.replays = [Replay(is_crash=False, reason=reason)]
    await trials.hear(call(), "r1")

    assert court.quarantined == []


async def test_one_trial_at_a_time_and_its_version_waits(court: Court, trials: Trials) -> None:
    court.gate.clear()
    court.crashed("r1", "m/1")
    court.replays = [ANSWER]
    hearings = [asyncio.create_task(trials.hear(call(), "r1")) for _ in range(5)]
    await court.has_begun.wait()
    admission = asyncio.create_task(trials.admit(version_ref()))
    await trials.admit(version_ref("other"))  # other versions are not held up
    waiting = [*hearings, admission]
    assert not any(task.done() for task in waiting)
    court.gate.set()
    await asyncio.gather(*waiting)

    assert len(court.replayed) == 1


async def test_without_a_verdict_the_version_goes_on_under_suspicion(
    court: Court, trials: Trials, clock: Clock
) -> None:
    court.crashed("r1", "m/1")
    court.replays = [ReplicaUnavailable("no Loader")]
    await trials.hear(call(), "r1")

    assert (court.charges, court.quarantined) == (set(), [])
    assert trials.was_charged("m/1")
    clock.now_s += SUSPECT_S
    assert not trials.was_charged("m/1")


@pytest.mark.parametrize(("is_away", "held_s"), [(False, BRIDGE_S), (True, ALONE_S)])
async def test_it_is_held_back_until_the_registry_says_so(
    court: Court, trials: Trials, clock: Clock, *, is_away: bool, held_s: float
) -> None:
    court.is_registry_away = is_away
    court.crashed("r1", "m/1")
    court.replays = [CRASH]
    with pytest.raises(ModelQuarantined):
        await trials.hear(call(), "r1")
    clock.now_s += held_s - 0.1
    with pytest.raises(ModelQuarantined) as held:
        await trials.admit(version_ref())
    clock.now_s += 0.1
    await trials.admit(version_ref())

    assert held.value.retry_after_s == 60


@pytest.mark.parametrize("subject", ["m", EVERYTHING])
async def test_a_release_is_honoured_at_once(court: Court, trials: Trials, subject: str) -> None:
    court.crashed("r1", "m/1")
    court.replays = [CRASH]
    with pytest.raises(ModelQuarantined):
        await trials.hear(call(), "r1")
    trials.on_change("model", "another")
    trials.on_change("user", subject)
    with pytest.raises(ModelQuarantined):
        await trials.admit(version_ref())
    trials.on_change("model", subject)

    await trials.admit(version_ref())


async def test_no_change_lifts_what_the_registry_has_not_heard_of(
    court: Court, trials: Trials
) -> None:
    court.is_registry_away = True
    court.crashed("r1", "m/1")
    court.replays = [CRASH]
    with pytest.raises(ModelQuarantined):
        await trials.hear(call(), "r1")
    trials.on_change("model", "m")

    with pytest.raises(ModelQuarantined):
        await trials.admit(version_ref())


async def test_a_query_of_death_kills_one_replica_and_is_never_sent_again(
    court: Court, trials: Trials
) -> None:
    sent: list[PredictCall] = []

    class Dying:
        async def predict(self, call: PredictCall) -> Any:
            sent.append(call)
            replica = f"r{len(sent)}"
            court.crashed(replica, "m/1")
            raise ReplicaUnavailable("a replica was lost", replica=replica)

    court.replays = [CRASH]
    retrying = RetryingPredictor(Dying(), judge=trials)
    with pytest.raises(ModelQuarantined):
        await retrying.predict(call())
    with pytest.raises(ModelQuarantined):
        await retrying.predict(call())

    assert len(sent) == 1
