"""A short seeded slice of the fuzzer; the whole is ``make fuzz``."""

import json
import subprocess
import sys


def test_no_mutated_file_escapes_or_crashes() -> None:
    command = [sys.executable, "-m", "tests.fuzz.intake_fuzz", "--cases", "1000", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.stdout, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["escapes"] == []
    assert counts["cases"] == 1000
    assert done.returncode == 0
    # Both ends are reached: files that still load, and refusals of several kinds.
    assert counts["accepted"] > 10
    assert sum(key.startswith("refused") for key in counts) > 5
