"""A short slice of the fault suite: the whole of it is ``make chaos``."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from deployments.black_box import find_last_words
from tests.chaos.nemesis import Nemesis
from tests.chaos.run import Plan, run
from tests.chaos.stages import Stage
from tests.system.client import ApiUser, as_bytes
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
    ended = threading.Event()
    answers: list[httpx.Response] = []

    def call() -> None:
        dice = np.random.default_rng(1)
        while not ended.is_set():
            answers.append(user.predict("heavy", dice.normal(size=(4000, 8)).tolist()))

    thread = threading.Thread(target=call)
    thread.start()
    try:
        for _ in range(2):
            crash_while_executing(faulty)
        wait_until(
            lambda: bool(answers) and answers[-1].status_code == 503,
            what="the quarantine",
            timeout_s=60,
        )
    finally:
        ended.set()
        thread.join()
    held = user.predict("heavy", [[0.0] * 8])
    released = user.http.post("/api/v1/models/heavy/versions/1/release", headers=user.headers)
    served = user.predict("heavy", [[0.0] * 8])

    assert held.json()["code"] == "model_quarantined"
    assert "Retry-After" in held.headers
    assert released.status_code == 200
    assert served.status_code == 200, served.text


def crash_while_executing(platform: Platform) -> None:
    """SIGSEGV a Predictor that is executing and still is when the fault is written down."""
    nemesis = Nemesis.seeded(platform, 1)
    boxes = platform.home / "replicas"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for actor_id, pid in nemesis.actors("Predictor").items():
            words = find_last_words(boxes, actor_id)
            if words is None or not words.executing or not alive(pid):
                continue  # Serve's state may still name a replica that is dead
            os.kill(pid, signal.SIGSTOP)
            os.kill(pid, signal.SIGSEGV)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: not alive(pid), what="the end of the replica")  # noqa: B023
            after = find_last_words(boxes, actor_id)
            if after is not None and after.is_native_crash and after.executing:
                return
    raise AssertionError("no Predictor could be caught at work")


def alive(pid: int) -> bool:
    """Whether the process still runs."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
