"""What a vetting child may not do, tried for real, and what becomes of its end."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import psutil
import pytest

from cluster.contracts import SandboxState, VetRequest
from cluster.errors import Overloaded, ReplicaUnavailable, UploadRefused
from deployments.intake.sandbox import Sandbox
from tests.unit.deployments.intake.hostile_zygote import MARKER, VICTIM

pytestmark = pytest.mark.anyio
HOSTILE = (str(Path(__file__).with_name("hostile_zygote.py")),)
REQUEST = VetRequest(sha256="0" * 64, size_bytes=1, allowed_formats=("pickle",))


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for the deeds that leave it whole; sixteen children at a time are plenty."""
    sandbox = Sandbox(wall_clock_s=20, memory_bytes=1 << 30, cpu_s=2, zygote_command=HOSTILE)
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A sandbox that the test may wreck."""
    sandbox = Sandbox(wall_clock_s=1.0, lanes=1, queue_bound=1, zygote_command=HOSTILE)
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture(autouse=True)
def victim() -> Iterator[None]:
    """What a deed would delete; beside it would lie the marker that another would leave."""
    VICTIM.touch()
    yield
    VICTIM.unlink(missing_ok=True)
    MARKER.unlink(missing_ok=True)


def _traces() -> list[str]:
    traces = ["the marker exists"] if MARKER.exists() else []
    return traces if VICTIM.exists() else [*traces, "the victim is gone"]


async def _deed(sandbox: Sandbox, name: str) -> UploadRefused:
    with pytest.raises(UploadRefused) as caught:
        await sandbox.vet(name.encode(), REQUEST)
    return caught.value


def _zygote(sandbox: Sandbox) -> psutil.Process:
    assert sandbox.zygote_pid is not None
    return psutil.Process(sandbox.zygote_pid)


@pytest.mark.parametrize(
    "deed",
    [
        "open",  # read a file of the system
        "list",  # look around
        "create",  # leave a marker
        "unlink",  # delete what is there
        "chmod",
        "socket",  # talk to the network
        "unix",  # talk to another process
        "fork",
        "thread",
        "exec",
        "kill",  # end the zygote
        "killpg",
        "memfd",
        "limit",  # lift its own limits
    ],
)
async def test_a_child_is_denied(shared: Sandbox, deed: str) -> None:
    refusal = await _deed(shared, deed)

    assert refusal.message.startswith("denied: ")
    assert _traces() == []


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("memory", "memory"),  # 4 GiB at once
        ("endless", "cpu"),
        ("segfault", "crash"),
        ("abort", "crash"),
        ("vanish", "verdict"),  # exit 0 and say nothing
        ("garbage", "verdict"),
        ("pickle", "verdict"),  # never unpickled
        ("flood", "verdict"),  # more than a verdict may hold
    ],
)
async def test_a_child_that_ends_badly_refuses_its_file(
    shared: Sandbox, deed: str, reason: str
) -> None:
    refusal = await _deed(shared, deed)

    assert (refusal.context["gate"], refusal.context["reason"]) == ("sandbox", reason)
    assert refusal.public_code == "upload_refused"
    assert _traces() == []


async def test_the_next_child_works_after_each_of_them(shared: Sandbox) -> None:
    for deed in ("segfault", "memory", "flood"):
        await _deed(shared, deed)

    assert (await _deed(shared, "nothing")).message == "done"


async def test_the_wall_clock_ends_a_child_that_sleeps(own: Sandbox) -> None:
    refusal = await _deed(own, "sleep")

    assert refusal.context["reason"] == "timeout"
    assert _zygote(own).children() == []


async def test_a_class_poisoned_in_one_child_is_whole_in_the_next(shared: Sandbox) -> None:
    assert (await _deed(shared, "poison")).message == "done"
    assert (await _deed(shared, "poisoned")).message == "denied: whole"


async def test_a_child_has_its_job_its_verdict_and_what_it_prints(shared: Sandbox) -> None:
    assert (await _deed(shared, "descriptors")).message == "denied: 0 1 2 3"


async def test_no_variable_of_the_parent_reaches_a_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    sandbox = Sandbox(zygote_command=HOSTILE)
    sandbox.start()
    try:
        seen = (await _deed(sandbox, "environment")).message
        environ = _zygote(sandbox).environ()
    finally:
        sandbox.stop()

    assert "OMP_NUM_THREADS" in seen
    assert not [name for name in environ if "SECRET" in name]


async def test_a_child_that_prints_without_end_does_not_stall(shared: Sandbox) -> None:
    assert (await _deed(shared, "print")).message == "denied: printed"


async def test_the_kernel_gives_every_layer_here(shared: Sandbox) -> None:
    assert shared.state.is_whole
    assert shared.state.landlock_abi >= 1


async def test_a_killed_zygote_fails_what_was_in_it_and_is_replaced_once() -> None:
    clock = Clock()
    sandbox = Sandbox(wall_clock_s=20, zygote_command=HOSTILE, clock=clock)
    sandbox.start()
    try:
        await _kill_during_a_vetting(sandbox)
        assert sandbox.is_alive
        assert (await _deed(sandbox, "nothing")).message == "done"

        await _kill_during_a_vetting(sandbox)
        assert not sandbox.is_alive
        with pytest.raises(ReplicaUnavailable):
            await sandbox.vet(b"nothing", REQUEST)

        clock.now_s += 61
        assert sandbox.is_alive
        assert (await _deed(sandbox, "nothing")).message == "done"
    finally:
        sandbox.stop()


async def _kill_during_a_vetting(sandbox: Sandbox) -> None:
    zygote = _zygote(sandbox)

    async def vet() -> None:
        with pytest.raises(ReplicaUnavailable) as caught:
            await sandbox.vet(b"sleep", REQUEST)
        assert caught.value.retry_after_s is not None

    async with anyio.create_task_group() as group:
        group.start_soon(vet)
        while not (children := await anyio.to_thread.run_sync(zygote.children)):
            pass
        os.kill(zygote.pid, signal.SIGKILL)
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]


async def test_more_waiting_files_than_the_queue_holds_are_shed(own: Sandbox) -> None:
    shed: list[Overloaded] = []

    async def vet() -> None:
        try:
            await own.vet(b"sleep", REQUEST)
        except UploadRefused:
            pass
        except Overloaded as error:
            shed.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(4):  # one runs, one waits
            group.start_soon(vet)

    assert len(shed) == 2
    assert all(error.retry_after_s for error in shed)


async def test_stop_ends_the_zygote_and_its_children(own: Sandbox) -> None:
    zygote = _zygote(own)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_expect_loss, own)
        while not (children := zygote.children()):
            pass
        own.stop()
        running.result(timeout=20)

    gone, left = psutil.wait_procs([*children, zygote], timeout=10)
    assert left == []
    assert len(gone) == 2
    assert not own.is_alive


def _expect_loss(sandbox: Sandbox) -> None:
    with pytest.raises((ReplicaUnavailable, UploadRefused)):
        anyio.run(sandbox.vet, b"sleep", REQUEST)


def test_before_start_nothing_holds() -> None:
    assert Sandbox().state == SandboxState(landlock_abi=0, seccomp=False, rlimits=False)
    assert not Sandbox().is_alive
