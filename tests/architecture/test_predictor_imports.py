"""What a replica's process may hold in memory, seen in a fresh interpreter."""

import json
import subprocess
import sys

import pytest

#: Module to load -> what must not be there afterwards.
FORBIDDEN = {
    # It runs uploaded models: no secret, no front, no way to the databases.
    "deployments.predictor": ("serve_app", "sqlalchemy", "redis", "psycopg2", "alembic", "jwt"),
    # It takes uploads in, and leaves touching them to its children.
    "deployments.loader": (
        "serve_app",
        "sqlalchemy",
        "redis",
        "psycopg2",
        "sklearn",
        "skops",
        "joblib",
        "pandas",
    ),
    # It runs in the Serve controller.
    "cluster.autoscaling": ("ray", "numpy", "pydantic", "deployments", "serve_app"),
}
PROBE = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_process_that_runs_it_holds_nothing_forbidden(module: str) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", PROBE, module], capture_output=True, text=True, check=True
    )

    assert set(json.loads(loaded.stdout)) & set(FORBIDDEN[module]) == set()
