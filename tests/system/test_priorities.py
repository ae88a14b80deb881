"""Replicas do not stand behind other programs of the machine; Ray's default would have them."""

import os
from pathlib import Path

from tests.system.platform import Platform


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
