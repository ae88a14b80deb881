"""The order of replicas that every ingress computes alike."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.config import RequestRouterConfig

from deployments import silence
from deployments.predictor_count import known_predictors
from deployments.router import ModelAffinityRouter, ranked

pytestmark = pytest.mark.anyio
REPLICAS = [f"replica-{n}" for n in range(4)]


def test_the_order_does_not_depend_on_how_replicas_are_listed() -> None:
    assert ranked("m/1", REPLICAS) == ranked("m/1", REPLICAS[::-1])


def test_versions_spread_evenly() -> None:
    first = Counter(ranked(f"m/{n}", REPLICAS)[0] for n in range(4000))

    assert all(850 < count < 1150 for count in first.values())


def test_a_lost_replica_moves_its_own_versions_alone() -> None:
    for n in range(200):
        before = ranked(f"m/{n}", REPLICAS)
        after = ranked(f"m/{n}", [r for r in REPLICAS if r != "replica-2"])

        assert after == [r for r in before if r != "replica-2"]


def _replica(name: str) -> Any:
    return SimpleNamespace(replica_id=SimpleNamespace(unique_id=name))


def _request(affinity: str) -> Any:
    return SimpleNamespace(metadata=SimpleNamespace(multiplexed_model_id=affinity))


async def _groups(
    names: list[str], request: Any, made: type[ModelAffinityRouter] = ModelAffinityRouter
) -> list[list[str]]:
    router = made.__new__(made)
    replicas = [_replica(name) for name in names]
    groups = await router.choose_replicas(replicas, request)
    return [[replica.replica_id.unique_id for replica in group] for group in groups]


def _as_serve_makes_it() -> type[ModelAffinityRouter]:
    """The class that runs: Serve pickles the module, whose globals are not those imported."""
    config = RequestRouterConfig(request_router_class="deployments.router:ModelAffinityRouter")
    made: type[ModelAffinityRouter] = config.get_request_router_class()
    return made


async def test_it_tells_how_many_there_were_to_choose_from() -> None:
    made = _as_serve_makes_it()
    await _groups(REPLICAS, _request("m/1"), made)
    assert known_predictors() == 4
    await _groups(REPLICAS[:1], _request("m/1"), made)

    assert known_predictors() == 1


async def test_a_full_first_choice_spills_to_the_next() -> None:
    assert await _groups(REPLICAS, _request("m/1")) == [[r] for r in ranked("m/1", REPLICAS)]


async def test_one_that_does_not_answer_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    noted = silence.Silence(clock=lambda: now_s)
    monkeypatch.setattr(silence, "predictors", noted)
    usual = [[name] for name in ranked("m/1", REPLICAS)]
    first = usual[0][0]
    noted.sent(first)
    now_s = silence.SILENT_S
    passed_over = await _groups(REPLICAS, _request("m/1"), _as_serve_makes_it())
    noted.answered(first)

    assert passed_over == [*usual[1:], [first]]
    assert await _groups(REPLICAS, _request("m/1")) == usual


def test_one_that_does_not_answer_is_tried_again_after_a_while() -> None:
    now_s = 0.0
    noted = silence.Silence(clock=lambda: now_s)
    noted.sent("r")
    now_s = silence.FORGIVEN_S - 0.1
    noted.sent("r")
    before = noted.is_silent("r")
    now_s = silence.FORGIVEN_S
    after = noted.is_silent("r")
    noted.sent("r")
    now_s += silence.SILENT_S

    assert (before, after, noted.is_silent("r")) == (True, False, True)


@pytest.mark.parametrize("request_", [None, _request("")])
async def test_a_call_for_no_version_may_go_anywhere(request_: Any) -> None:
    assert await _groups(REPLICAS, request_) == [REPLICAS]


async def test_one_replica_takes_everything() -> None:
    assert await _groups(["only"], _request("m/1")) == [["only"]]
