"""`slipway models revet`: which stored versions the libraries installed here would refuse."""

import hashlib
import json
import pickle
from typing import Any

import anyio.to_thread
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sqlalchemy import update
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from serve_app.registry.tables import ModelVersion
from tests.integration.intake.conftest import Platform
from tests.integration.models_api.real_platform import upload

pytestmark = pytest.mark.anyio
X = np.random.default_rng(3).normal(size=(30, 3))


@pytest.fixture
def here(platform: Platform, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """The platform's directory and registry are those of the command."""
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("SLIPWAY_HOME", str(platform.services.settings.slipway_home))
    monkeypatch.setenv("DATABASE_URL", database_url)


async def run(*words: str) -> Result:
    """The command, in a thread: it runs an event loop of its own."""
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, words))


async def stored(platform: Platform, slope: float) -> str:
    """sha256 of a version that the platform has accepted."""
    client = await platform.user()
    content = pickle.dumps(Ridge().fit(X, slope * X[:, 0]))
    made = await upload(client, content)
    assert made.status_code == 201, made.text
    return hashlib.sha256(content).hexdigest()


def versions_in(result: Result) -> dict[str, Any]:
    """sha256 -> what is said of it."""
    return {item["sha256"]: item for item in json.loads(result.stdout)["versions"]}


async def test_versions_that_answer_as_ever_are_accepted(platform: Platform, here: None) -> None:
    sha256 = await stored(platform, 1.0)

    result = await run("models", "revet", "--json")
    found = versions_in(result)[sha256]

    assert result.exit_code == 0, result.stderr
    assert (found["verdict"], found["error"]) == ("accepted", None)
    assert found["predictions"] == 64  # every canary row


async def test_versions_that_would_differ_or_are_damaged_are_named(
    platform: Platform, here: None
) -> None:
    changed, damaged, whole = [await stored(platform, slope) for slope in (2.0, 3.0, 4.0)]
    await _record_other_answers(platform, changed)
    home = platform.services.settings.slipway_home
    (file,) = (path for path in home.rglob(damaged) if path.is_file())
    file.chmod(0o600)
    file.write_bytes(b"\x80" + file.read_bytes()[1:][::-1])

    result = await run("models", "revet", "--json")
    found = versions_in(result)

    assert result.exit_code == 1
    assert (found[changed]["verdict"], found[changed]["code"]) == ("refused", "canary_mismatch")
    assert (found[damaged]["verdict"], found[damaged]["code"]) == ("refused", "artifact_corrupt")
    assert found[whole]["verdict"] == "accepted"
    assert "2 of" in result.stderr


async def _record_other_answers(platform: Platform, sha256: str) -> None:
    def change(session: Any) -> None:
        version = session.query(ModelVersion).where(ModelVersion.sha256 == sha256).one()
        report = json.loads(json.dumps(version.report))
        report["canary"]["answers"]["predict"][0] += 1.0
        session.execute(
            update(ModelVersion).where(ModelVersion.id == version.id).values(report=report)
        )

    await platform.services.database.write(change)
