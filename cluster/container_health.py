"""
The containers' own probe: ``python -m cluster.container_health serve|backup``.

Standard library alone, since it starts a process every few seconds.  Exit code 0 is healthy.
"""

import http.client
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

TIMEOUT_S = 5
#: A daily backup and two hours more.
LONGEST_BACKUP_AGE_S = 26 * 3600
INTERFACES = Path("/sys/class/net")


def is_serving(port: int, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether predictions can be answered behind ``port``; a 200 without our id is not ours."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/v2/health/ready")
        answer = connection.getresponse()
        return answer.status == http.client.OK and "X-Request-ID" in answer.headers
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def has_network(interfaces: Path = INTERFACES) -> bool:
    """
    Whether there is more than loopback.

    A container that lives in the edge's network loses it when the edge is started anew; it must be
    started anew as well.  Where interfaces cannot be listed, that is no reason to end it.
    """
    try:
        return any(interface.name != "lo" for interface in interfaces.iterdir())
    except OSError:
        return True


def is_backup_young(home: Path, *, now: datetime, started: datetime) -> bool:
    """Whether the last good backup, or without one the start, is less than 26 hours old."""
    try:
        status = json.loads((home / "backup-status.json").read_text(encoding="utf-8"))
        last = datetime.fromisoformat(status["last_good_at"])
    except (OSError, ValueError, KeyError, TypeError):
        last = started
    return (now - last).total_seconds() < LONGEST_BACKUP_AGE_S


def main(arguments: list[str]) -> int:
    """Run one probe; what it needs is in the container's environment."""
    if arguments == ["backup"]:
        started = datetime.fromtimestamp(Path("/proc/1").stat().st_mtime, tz=UTC)
        home = Path(os.environ.get("SLIPWAY_HOME", ".slipway"))
        return 0 if is_backup_young(home, now=datetime.now(UTC), started=started) else 1
    if arguments == ["serve"]:
        if not has_network():
            os.kill(1, signal.SIGTERM)
            return 1
        return 0 if is_serving(int(os.environ.get("PORT", "8000"))) else 1
    sys.stderr.write("container_health: say serve or backup\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
