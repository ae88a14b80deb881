"""A short seeded slice of the fuzzer: each operation as each role; the whole is `make fuzz-api`."""

import json
import subprocess
import sys

import pytest

from tests.fuzz.api_server import ROLES


@pytest.mark.timeout(900)
def test_no_case_finds_an_error_a_broken_schema_or_an_open_door() -> None:
    command = [sys.executable, "-m", "tests.fuzz.api_fuzz", "--examples", "3", "--seed", "7"]
    command += ["--phases", "fuzzing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)

    assert done.stdout, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failures"] == {}
    assert found["errors"] == []
    assert set(found["cases_by_role"]) == set(ROLES)
    assert found["operations"] >= 50
    assert not [status for status in found["statuses"] if status.startswith("5")]
    assert done.returncode == 0
