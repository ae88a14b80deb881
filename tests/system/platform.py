"""Starts and stops a whole platform of its own, on free ports, beside whatever else runs."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
SLIPWAY = str(Path(sys.executable).with_name("slipway"))
#: What `slipway up` says last.
BANNER = "drains and stops everything"
#: A cold start on two busy cores; every wait ends as soon as its condition holds.
PATIENCE_S = 180.0


def free_ports(count: int) -> list[int]:
    """
    Ports nobody listens on now, from below those that the kernel gives to outgoing connections.

    Any of these might take a port from above before the platform does; Ray's workers take those
    below 20,000.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"fewer than {count} free ports")


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return once ``condition`` holds; fails naming ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout_s:.0f} s")
        time.sleep(0.1)


@dataclass
class Platform:
    """One `slipway up` with its own home and ports."""

    home: Path
    environment: dict[str, str]
    port: int
    #: Where `slipway` runs: the serve_config.yaml there is the one that is deployed.
    directory: Path = REPOSITORY
    process: "subprocess.Popen[str] | None" = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        """Name the log of the launcher."""
        self.log = self.home.parent / "up.log"

    @classmethod
    def create(cls, directory: Path, **settings: str) -> "Platform":
        """A platform that is not running yet, with settings over the defaults of a test."""
        port, dashboard, ray, stats, metrics = free_ports(5)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY_", "RAY_"))}
        environment = kept | {
            "SLIPWAY_HOME": str(directory / "home"),
            "ENV_FILE": "",
            "PORT": str(port),
            "DASHBOARD_PORT": str(dashboard),
            "RAY_PORT": str(ray),
            "HAPROXY_STATS_PORT": str(stats),
            "HAPROXY_METRICS_PORT": str(metrics),
            "DEFAULT_RATE_LIMIT": "1000000",
            "REGISTER_RATE_LIMIT": "100000",
            "LOGIN_RATE_LIMIT": "100000",
        }
        return cls(home=directory / "home", environment=environment | settings, port=port)

    @property
    def url(self) -> str:
        """Base URL of the HTTP door."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_ready(self) -> bool:
        """Whether our application answers that it is ready."""
        try:
            response = httpx.get(f"{self.url}/health/ready", timeout=2)
        except httpx.HTTPError:
            return False
        return response.status_code == httpx.codes.OK and "X-Request-ID" in response.headers

    def start(self) -> "Platform":
        """Run `slipway up` and return once it answers."""
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [SLIPWAY, "up"],
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        wait_until(lambda: self._is_up_or_dead(began), what=f"the platform ({self.log})")
        if self.process.poll() is not None:
            raise AssertionError(f"slipway up ended:\n{self.log.read_text()[-4000:]}")
        return self

    def _is_up_or_dead(self, began: int) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            return True
        # What a killed launcher left behind may still answer; only the banner is this start's.
        return BANNER in self.log.read_text()[began:] and self.is_ready

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)

    def run(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a `slipway` command against this platform."""
        return subprocess.run(
            [SLIPWAY, *words],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def processes(self) -> list[int]:
        """Process ids whose environment or command line names this platform's home."""
        needle = str(self.home).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if needle in text and state != "Z":
                found.append(int(entry.name))
        return found


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Platform]:
    """A running platform that is stopped, by process id, whatever happens."""
    with kept_running(Platform.create(directory, **settings)) as platform:
        yield platform


@contextmanager
def kept_running(platform: Platform) -> Iterator[Platform]:
    """The platform, started now and stopped, by process id, whatever happens."""
    try:
        yield platform.start()
    finally:
        if platform.process is not None and platform.process.poll() is None:
            platform.stop()
