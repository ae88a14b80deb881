"""What processes cost: CPU time and memory by role, read from /proc."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: Part of the command line -> role, the first that fits.
ROLES = {
    "ServeReplica:slipway:Ingress": "ingress",
    "ServeReplica:slipway:Predictor": "predictor",
    "ServeReplica:slipway:Loader": "loader",
    "ServeReplica:echo": "echo",
    "haproxy": "haproxy",
    "HAProxyManager": "haproxy manager",
    "ServeController": "controller",
    "postgres": "postgres",
    "valkey": "valkey",
    "dashboard": "dashboard",
    "zygote": "loader",
    "gcs_server": "ray",
    "raylet": "ray",
}


def role_of(command: str) -> str:
    """What a process is for, by its command line."""
    return next((role for part, role in ROLES.items() if part in command), "other")


def cpu_s(pids: Iterable[int]) -> dict[int, tuple[str, float]]:
    """Role and CPU seconds so far of each process that still runs."""
    found = {}
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        found[pid] = (role_of(command), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S)
    return found


def spent_s(
    before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]
) -> dict[str, float]:
    """CPU seconds between two looks, by role."""
    spent: defaultdict[str, float] = defaultdict(float)
    for pid, (role, seconds) in after.items():
        spent[role] += seconds - before.get(pid, (role, 0.0))[1]
    return dict(spent)


def descendants(root: int) -> list[int]:
    """The process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def pss_bytes(pids: Iterable[int]) -> dict[str, int]:
    """Proportional set size by role: shared pages count once over all processes."""
    found: Counter[str] = Counter()
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        found[role_of(command)] += int(line.split()[1]) * 1024
    return dict(found)
