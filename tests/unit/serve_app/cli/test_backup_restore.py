"""What a restore tells a person."""

import pytest

from cluster.backup.manifest import Manifest
from cluster.backup.registry import Settled
from cluster.backup.restore import RestoreReport
from serve_app.cli.backup_replay import Replayed
from serve_app.cli.backup_restore import sentence

REPORT = RestoreReport(
    manifest=Manifest(
        name="b-1",
        created_at="2030-01-01T00:00:00Z",
        slipway_version="1",
        schema="1",
        postgres_version="18.4",
        key=None,
        files={},
        artifacts={"a" * 64: 5},
        rows={"users": 2, "models": 3},
    ),
    settled=Settled(sessions_ended=1, keys_revoked=0, migrated=()),
    kept_database=None,
    configuration={},
    duration_s=1.0,
)


@pytest.mark.parametrize(("skipped", "told"), [(0, "compared, "), (2, "compared (2 skipped), ")])
def test_versions_that_were_not_asked_again_are_told(skipped: int, told: str) -> None:
    line = sentence(REPORT, Replayed(versions=4, predictions=40, skipped=skipped))

    assert line == (
        "b-1 is restored: 5 rows, 1 model files; 40 recorded predictions of 4 versions "
        f"{told}1 sessions ended"
    )
