"""What dies is started again, at once after a long life, later after each short one."""

from dataclasses import dataclass, field
from typing import cast

from cluster.errors import PlatformError
from cluster.launch import Platform
from cluster.supervisor import Backoff, Supervisor


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeHead:
    is_running: bool = True


@dataclass
class FakeDatabases:
    missing: list[str] = field(default_factory=list)


@dataclass
class FakePlatform:
    """Counts restarts; ``fails`` makes each of them raise."""

    head: FakeHead = field(default_factory=FakeHead)
    databases: FakeDatabases = field(default_factory=FakeDatabases)
    moves: bool = False
    fails: bool = False
    log: list[str] = field(default_factory=list)

    def restart_head(self) -> None:
        self.log.append("head")
        if self.fails:
            raise PlatformError("no")
        self.head.is_running = True

    def revive_databases(self) -> bool:
        self.log.append("databases")
        self.databases.missing = []
        return self.moves


def supervised(platform: FakePlatform, clock: Clock) -> Supervisor:
    return Supervisor(cast("Platform", platform), clock=clock)


def test_nothing_is_started_while_all_runs() -> None:
    platform = FakePlatform()
    supervised(platform, Clock()).look()

    assert platform.log == []


def test_a_dead_head_is_started_at_once() -> None:
    platform = FakePlatform(head=FakeHead(is_running=False))
    supervised(platform, Clock()).look()

    assert platform.log == ["head"]


def test_a_dead_database_is_started_at_once() -> None:
    platform = FakePlatform(databases=FakeDatabases(missing=["DATABASE_URL"]))
    supervised(platform, Clock()).look()

    assert platform.log == ["databases"]


def test_a_database_that_moved_restarts_ray_since_replicas_read_urls_once() -> None:
    platform = FakePlatform(databases=FakeDatabases(missing=["DATABASE_URL"]), moves=True)
    supervised(platform, Clock()).look()

    assert platform.log == ["databases", "head"]


def test_a_restart_that_fails_is_tried_again_after_its_delay() -> None:
    clock = Clock()
    platform = FakePlatform(head=FakeHead(is_running=False), fails=True)
    supervisor = supervised(platform, clock)
    supervisor.look()
    supervisor.look()
    assert platform.log == ["head"]

    clock.now_s += 1
    supervisor.look()
    assert platform.log == ["head", "head"]


def test_delays_double_up_to_half_a_minute() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    delays = []
    for _ in range(8):
        clock.now_s += backoff.delay_s
        backoff.attempt()
        delays.append(backoff.delay_s)

    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_long_life_forgives_earlier_deaths() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    for _ in range(4):
        clock.now_s += backoff.delay_s
        backoff.attempt()
    clock.now_s += 120
    backoff.attempt()

    assert backoff.delay_s == 1
