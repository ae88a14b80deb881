"""The five minutes of README.md, pasted as a new user would."""

import re
import subprocess
import sys
from pathlib import Path

from tests.system.platform import REPOSITORY, Platform


def test_the_tour_works_as_written(platform: Platform, tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    script = "set -e -o pipefail\n" + "\n".join(blocks)

    tour = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=platform.environment
        | {
            "URL": platform.url,
            "PATH": f"{Path(sys.executable).parent}:{platform.environment['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert tour.returncode == 0, tour.stderr
    assert '"version":1' in tour.stdout.replace(" ", "")
    assert '"code":"invalid_input"' in tour.stdout.replace(" ", "")
