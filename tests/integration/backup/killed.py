"""
Makes backups and restores in children that kill themselves at a given step.

One line of JSON on stdin asks for one of them; the answer is the signal that ended it.
"""

import json
import os
import signal
import sys
from pathlib import Path

from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.restore import restore_backup
from cluster.backup.streams import Watch
from tests.integration.backup.platforms import platform_at


def work(request: dict[str, str], at: int) -> None:
    """The work, with kill -9 of this process at its ``at``-th step."""
    steps = 0

    def step(_name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)

    host = platform_at(request["url"], Path(request["store"]))
    destination = DirectoryDestination(Path(request["destination"]))
    if request["what"] == "backup":
        host.back_up(destination, watch=Watch(at=step))
    else:
        restore_backup(host.restoring(destination, is_overwriting=True), watch=Watch(at=step))


def main() -> None:
    """Serve requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            work(request, int(request["at"]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
