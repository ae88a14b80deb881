"""Replicas do not stand behind other programs of the machine; Ray's default would have them."""

import os
from pathlib import Path

from cluster.scheduling import SLICE_S
from tests.system.platform import Platform
from tests.unit.cluster.test_scheduling import needs_slices


def test_replicas_run_at_the_launchers_priority(platform: Platform) -> None:
    assert platform.process is not None
    niceness = {
        pid: os.getpriority(os.PRIO_PROCESS, pid)
        for pid in platform.processes()
        if b"ServeReplica:slipway:" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }

    assert len(niceness) >= 4
    own = os.getpriority(os.PRIO_PROCESS, platform.process.pid)
    assert set(niceness.values()) == {own}, niceness


@needs_slices
def test_an_ingress_runs_in_short_slices(platform: Platform) -> None:
    slices = {
        line.split(":")[1].strip()
        for pid in platform.processes()
        if b":Ingress" in Path(f"/proc/{pid}/cmdline").read_bytes()
        for line in Path(f"/proc/{pid}/sched").read_text(encoding="utf-8").splitlines()
        if line.startswith("se.slice")
    }

    assert slices == {f"{SLICE_S * 1e9:.0f}"}
