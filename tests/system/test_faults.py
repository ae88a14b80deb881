"""A short slice of the fault suite: the whole of it is ``make chaos``."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from deployments.black_box import find_last_words
from tests.chaos.nemesis import Nemesis
from tests.chaos.run import Plan, run
from tests.chaos.stages import Stage
from tests.chaos.writers import model_file
from tests.crashing_model import DEADLY, QUOTIENT, crashing_model, needs_trap
from tests.system.administrator import administrator
from tests.system.client import ApiUser, as_bytes
from tests.system.meanwhile import repeated
from tests.system.platform import Platform, running, wait_until

pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of the module's own, in which every prediction goes through a Predictor."""
    directory = tmp_path_factory.mktemp("faults")
    with running(directory, WORKERS="2", SHORT_PATH_ENABLED="false") as platform:
        yield platform


@pytest.fixture
def user(faulty: Platform) -> Iterator[ApiUser]:
    """A publisher of that platform."""
    with ApiUser.register(faulty.url) as made:
        yield made


def test_no_prediction_fails_when_a_predictor_and_the_controller_are_killed(
    faulty: Platform,
) -> None:
    plan = Plan(seed=7, seconds=20, rate=30, faults=("kill-predictor", "kill-controller"))

    history = run(Stage(platform=faulty), plan)

    report = json.dumps(history.report(), indent=1)
    assert len(history.plain) == 600
    assert history.violations() == [], report
    assert history.failed == [], report
    assert len(history.uploaded) > 1, report


def heavy_model() -> bytes:
    """Slow enough in native code to be caught at it."""
    rows = np.random.default_rng(0).normal(size=(4000, 8))
    return as_bytes(KNeighborsRegressor(5, algorithm="brute").fit(rows, rows[:, 0]), "joblib")


def test_a_version_that_alone_crashes_two_replicas_is_held_back_until_it_is_released(
    faulty: Platform, user: ApiUser
) -> None:
    """
    The segmentation fault comes from outside: no honest file that passes the gates makes one.

    Its replay in the sandbox answers, so that the charges alone condemn.
    """
    user.upload("heavy", heavy_model()).raise_for_status()
    dice = np.random.default_rng(1)
    with repeated(lambda: user.predict("heavy", dice.normal(size=(4000, 8)).tolist())) as answers:
        for _ in range(2):
            end_while_executing(faulty, signal.SIGSEGV)
        wait_until(
            lambda: bool(answers) and answers[-1].status_code == 503,
            what="the quarantine",
            timeout_s=60,
        )
    held = user.predict("heavy", [[0.0] * 8])
    released = user.http.post("/api/v1/models/heavy/versions/1/release", headers=user.headers)
    served = user.predict("heavy", [[0.0] * 8])

    assert held.json()["code"] == "model_quarantined"
    assert "Retry-After" in held.headers
    assert released.status_code == 200
    assert served.status_code == 200, served.text


def test_a_hot_model_that_ten_killed_replicas_were_executing_is_never_held_back(
    faulty: Platform, user: ApiUser
) -> None:
    user.upload("hot", heavy_model()).raise_for_status()
    dice = np.random.default_rng(2)
    with repeated(lambda: user.predict("hot", dice.normal(size=(4000, 8)).tolist())) as answers:
        for _ in range(10):
            wait_until(lambda: living(faulty) >= 2, what="two Predictors")
            end_while_executing(faulty, signal.SIGKILL)
        asked = len(answers)
        wait_until(lambda: len(answers) > asked + 3, what="answers after the last kill")
    version = user.http.get("/api/v1/models/hot/versions/1", headers=user.headers).json()

    assert {answer.status_code for answer in answers} == {200}
    assert version["status"] == "ready"


@needs_trap
def test_a_query_of_death_is_found_out_by_its_replay_and_costs_other_models_nothing(
    faulty: Platform, user: ApiUser
) -> None:
    made = user.upload("quotient", crashing_model()).raise_for_status().json()
    user.upload("other", model_file(1)).raise_for_status()
    nemesis = Nemesis.seeded(faulty, 1)
    before = set(nemesis.actors("Predictor"))
    with repeated(lambda: user.predict("other", [[1.0]])) as others:
        wait_until(lambda: len(others) > 20, what="the other model's answers")
        killer = user.predict("quotient", [DEADLY])
        held = user.predict("quotient", [QUOTIENT])
        asked = len(others)
        wait_until(lambda: len(others) > asked + 20, what="more of them")
    died = before - set(nemesis.actors("Predictor"))
    with administrator(faulty) as admin:
        told = admin.get(
            "/api/v1/audit", params={"action": "version.quarantine", "target_id": made["id"]}
        ).json()["items"]
    released = user.http.post("/api/v1/models/quotient/versions/1/release", headers=user.headers)
    served = user.predict("quotient", [QUOTIENT])

    assert [answer.json()["code"] for answer in (killer, held)] == ["model_quarantined"] * 2
    assert [event["details"]["reason"] for event in told] == ["replay"]
    assert 1 <= len(died) <= 2
    assert {answer.status_code for answer in others} == {200}
    assert released.status_code == 200
    assert served.json()["predictions"] == [3.0]


def end_while_executing(platform: Platform, number: signal.Signals) -> None:
    """End a Predictor that is executing and, as its black box says, was when it died."""
    nemesis = Nemesis.seeded(platform, 1)
    boxes = platform.home / "replicas"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for actor_id, pid in nemesis.actors("Predictor").items():
            words = find_last_words(boxes, actor_id)
            if words is None or not words.executing or not alive(pid):
                continue  # Serve's state may still name a replica that is dead
            os.kill(pid, signal.SIGSTOP)
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: not alive(pid), what="the end of the replica")  # noqa: B023
            after = find_last_words(boxes, actor_id)
            has_trace = number == signal.SIGSEGV
            if after is not None and after.is_native_crash == has_trace and after.executing:
                return
    raise AssertionError("no Predictor could be caught at work")


def living(platform: Platform) -> int:
    """Predictors that run; Serve's state may still name one that is dead."""
    return sum(map(alive, Nemesis.seeded(platform, 1).actors("Predictor").values()))


def alive(pid: int) -> bool:
    """Whether the process still runs."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
