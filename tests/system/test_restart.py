"""Users, keys, models and aliases outlive every way in which the platform may end."""

import os
import signal
from collections.abc import Callable, Iterator
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


def stop(platform: Platform) -> None:
    assert platform.stop() == 0


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that every test here ends and starts again."""
    with running(tmp_path_factory.mktemp("restart"), WORKERS="1") as platform:
        yield platform


@pytest.mark.parametrize(
    "end",
    [interrupt, kill_launcher, kill_everything, pytest.param(stop, marks=pytest.mark.quiet)],
)
def test_everything_is_still_there_after(
    end: Callable[[Platform], None], restarted: Platform
) -> None:
    case = iris()
    with ApiUser.register(restarted.url) as user:
        user.upload("iris", as_bytes(case.model, "joblib")).raise_for_status()
        wanted = user.predict("iris", case.instances).raise_for_status().json()

        end(restarted)
        restarted.start()

        assert user.predict("iris", case.instances).json() == wanted


def test_nothing_is_left_running_after_sigterm(restarted: Platform) -> None:
    assert len(restarted.processes()) > 5

    code = restarted.stop()

    assert code == 0
    wait_until(lambda: not restarted.processes(), what="the end of all processes", timeout_s=20)


def test_a_taken_port_is_named_with_its_holder(tmp_path: Path, platform: Platform) -> None:
    second = Platform.create(tmp_path, PORT=str(platform.port))

    refused = second.run("up")

    assert refused.returncode == 1
    assert f"port {platform.port}" in refused.stderr
    assert "haproxy" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr
