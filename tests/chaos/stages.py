"""A platform with what some faults and the shipped edge need around it."""

import json
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.serve_control import ServeControl
from tests.chaos.slow_valkey import Relay, slow_valkey
from tests.chaos.small_disk import UPLOAD_BYTES, SmallDisk, small_disk
from tests.integration.edge.nginx import HOST, TOKEN, Edge, find_nginx
from tests.integration.edge.nginx import running as running_edge
from tests.system.platform import Platform, running

#: Faults that need a stage of their own; the other ones any will do for.
SLOW_VALKEY, FILL_DISK = "slow-valkey", "fill-disk"
#: Takes every replica along: no door is left through which a prediction could go on.
KILL_HEAD = "kill-head"
PATIENCE_S = 180.0


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where requests go, and whose certificate is trusted there."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | bool = True


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A running platform."""

    platform: Platform
    edge: Edge | None = None
    valkey: Relay | None = None
    disk: SmallDisk | None = None

    def door(self, *, is_edged: bool) -> Door:
        """The edge, or HAProxy itself."""
        if not is_edged:
            return Door(url=self.platform.url)
        assert self.edge is not None
        return Door(
            url=f"https://127.0.0.1:{self.edge.https_port}",
            headers={"Host": HOST},
            trust=ssl.create_default_context(cafile=str(self.edge.certificate)),
        )

    def await_whole(self) -> None:
        """Return once everything that earlier faults took is there again."""
        control = ServeControl(self.platform)
        deadline_s = time.monotonic() + PATIENCE_S
        while not (control.is_settled() and self.platform.is_ready):
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not whole after {PATIENCE_S:.0f} s: {control.replicas()}")
            # Serve's controller has better things to do.
            time.sleep(1)


@contextmanager
def staged(
    directory: Path, faults: Collection[str], *, is_edged: bool, short_path: str = "false"
) -> Iterator[Stage]:
    """A platform in ``directory`` on which these faults can be done."""
    if is_edged and find_nginx() is None:
        raise SystemExit("nginx is missing: apt-get install nginx")
    settings = {
        "WORKERS": "2",
        "SHORT_PATH_ENABLED": short_path,
        # What is asked again must be worked out again.
        "RESULT_CACHE_BYTES": "0",
        "EDGE_TOKEN": TOKEN,
        "ALLOWED_HOSTS": f"{HOST},127.0.0.1",
    }
    disk, valkey, edge = None, None, None
    with ExitStack() as stack:
        if FILL_DISK in faults:
            disk = stack.enter_context(small_disk(directory))
            settings["MAX_UPLOAD_SIZE"] = str(UPLOAD_BYTES)
        if SLOW_VALKEY in faults:
            valkey, settings["REDIS_URL"] = stack.enter_context(slow_valkey(directory / "valkey"))
        platform = stack.enter_context(running(directory, **settings))
        if is_edged:
            edge = stack.enter_context(_edged(directory / "edge", platform))
        yield Stage(platform=platform, edge=edge, valkey=valkey, disk=disk)


@contextmanager
def _edged(directory: Path, platform: Platform) -> Iterator[Edge]:
    directory.mkdir()
    first = json.loads((platform.home / "ports.json").read_text(encoding="utf-8"))["ingress"]
    with running_edge(directory, platform.port, first_replica_port=first, replica_ports=64) as edge:
        yield edge
