"""What a run was of, for whoever reads its figures later."""

import subprocess
from datetime import UTC, datetime

from tests.system.platform import REPOSITORY


def tried() -> dict[str, str]:
    """``at``, the time in UTC, and ``revision``, the commit, marked if files were changed since."""
    command = ["git", "describe", "--always", "--dirty"]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "revision": told.stdout.strip() or "unknown",
    }
