"""Users, keys, models and aliases outlive every way in which the platform may end."""

import os
import signal
from pathlib import Path

import pytest

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import Platform, running, wait_until
from tests.system.zoo import iris


def kill_launcher(platform: Platform) -> None:
    assert platform.process is not None
    platform.process.kill()
    platform.process.wait()


def kill_everything(platform: Platform) -> None:
    for pid in platform.processes():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    assert platform.process is not None
    platform.process.wait()


def interrupt(platform: Platform) -> None:
    assert platform.process is not None
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(timeout=120) == 0


@pytest.mark.parametrize(
    "end", [interrupt, kill_launcher, pytest.param(kill_everything, marks=pytest.mark.quiet)]
)
def test_everything_is_still_there_after(end: object, tmp_path: Path) -> None:
    case = iris()
    with running(tmp_path, WORKERS="1") as platform, ApiUser.register(platform.url) as user:
        user.upload("iris", as_bytes(case.model, "joblib")).raise_for_status()
        wanted = user.predict("iris", case.instances).raise_for_status().json()

        end(platform)  # type: ignore[operator]  # parametrised functions
        platform.start()

        assert user.predict("iris", case.instances).json() == wanted


@pytest.mark.quiet
def test_nothing_is_left_running_after_sigterm(tmp_path: Path) -> None:
    with running(tmp_path, WORKERS="1") as platform:
        assert len(platform.processes()) > 5

        code = platform.stop()

    assert code == 0
    wait_until(lambda: not platform.processes(), what="the end of all processes", timeout_s=20)


@pytest.mark.quiet
def test_a_taken_port_is_named_with_its_holder(tmp_path: Path, platform: Platform) -> None:
    second = Platform.create(tmp_path, PORT=str(platform.port))

    refused = second.run("up")

    assert refused.returncode == 1
    assert f"port {platform.port}" in refused.stderr
    assert "haproxy" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr
