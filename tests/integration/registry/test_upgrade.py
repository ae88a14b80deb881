"""The previous release's database and files, taken over by this release; old replicas go on."""

import hashlib
import itertools
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, Inspector, create_engine, inspect, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner, Result

from cluster.artifacts_files import FileArtifacts
from cluster.errors import InsecureSettings
from cluster.settings import Settings
from serve_app.cli.main import app
from serve_app.preflight import refuse_unready
from serve_app.registry import migrate
from serve_app.registry.tables import Base

OLDEST = "0001"
REVISIONS = [
    step.revision
    for step in reversed(list(ScriptDirectory.from_config(migrate._config()).walk_revisions()))
]
STEPS = list(itertools.pairwise(REVISIONS))
CONTENT = b"the bytes of a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
#: What a replica of the first release writes in an hour, in its own words.
OLD_WRITES = """
    INSERT INTO users (id, email, password_hash, role, is_active, session_epoch, limits)
    VALUES (:user, :email, '-', 'publisher', true, 0, '{}');
    INSERT INTO models (id, owner_id, name) VALUES (:model, :user, :name);
    INSERT INTO model_versions (id, model_id, number, sha256, size_bytes, format, signature, report,
                                created_by)
    VALUES (:version, :model, 1, :sha256, :size, 'skops', '{}', '{}', :user);
    INSERT INTO model_aliases (model_id, alias, version) VALUES (:model, 'production', 1);
    INSERT INTO audit_events (actor, action, target_type, target_id)
    VALUES ('old', 'model.upload', 'model', :model);
"""


def to_revision(url: str, revision: str) -> None:
    with connected(url) as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def connected(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool).connect()


def write_as_the_old_release(url: str, name: str) -> None:
    given = {
        "name": name,
        "email": f"{name}@example.org",
        "sha256": SHA256,
        "size": len(CONTENT),
        **{each: str(uuid.uuid4()) for each in ("user", "model", "version")},
    }
    with connected(url) as connection:
        connection.execute(text(OLD_WRITES), given)
        connection.commit()


def rows(url: str) -> dict[str, list[Mapping[str, Any]]]:
    """Every row by table, columns by name: further columns do not make another row."""
    with connected(url) as connection:
        names = inspect(connection).get_table_names()
        return {
            name: [dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM {name}"))]
            for name in names
            if name != "alembic_version"
        }


@pytest.fixture
def old(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A platform of the first release: its database, and a model's file."""
    to_revision(empty_database_url, OLDEST)
    write_as_the_old_release(empty_database_url, "ann")
    FileArtifacts(tmp_path / "models").put(CONTENT, SHA256)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    return empty_database_url


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_migrate_shows_what_it_would_do_and_does_nothing(old: str) -> None:
    before = migrate.pending(old)

    shown = run("migrate", "--dry-run", "--json")

    document = json.loads(shown.stdout)
    assert document["pending"] == before
    assert [step.split()[0] for step in before] == REVISIONS[1:]
    assert "CREATE TABLE death_charges" in document["sql"]
    assert migrate.pending(old) == before


def test_migrate_keeps_every_row_and_file(old: str, tmp_path: Path) -> None:
    before = rows(old)

    done = run("migrate", "--json")

    assert done.exit_code == 0, done.stderr
    assert [step.split()[0] for step in json.loads(done.stdout)["migrated"]] == REVISIONS[1:]
    after = rows(old)
    for table, kept in before.items():
        narrowed = [{name: row[name] for name in kept[0]} for row in after[table]] if kept else []
        assert narrowed == kept, table
    assert FileArtifacts(tmp_path / "models").get(SHA256, len(CONTENT)) == CONTENT
    assert run("migrate", "--dry-run").stdout.strip() == "the schema is current"


def test_this_release_serves_what_the_old_one_stored(old: str) -> None:
    """And the old one goes on writing beside it, as during a rolling update."""
    run("migrate")
    write_as_the_old_release(old, "bob")

    listed = run("users", "list", "--json")
    made = run("keys", "create", "--user", "ann@example.org", "--name", "k", "--json")

    assert listed.exit_code == 0, listed.stderr
    assert {user["email"] for user in json.loads(listed.stdout)["items"]} >= {
        "ann@example.org",
        "bob@example.org",
    }
    assert json.loads(made.stdout)["key"].startswith("slp_")
    with Session(create_engine(old, poolclass=NullPool)) as session:
        read = {
            str(mapper.local_table): len(session.scalars(select(mapper.class_)).all())
            for mapper in Base.registry.mappers
        }
    assert (read["models"], read["model_versions"], read["model_aliases"]) == (2, 2, 2)


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_migration_only_expands(empty_database_url: str, before: str, after: str) -> None:
    """So that replicas of the release before go on writing what they know."""
    to_revision(empty_database_url, before)
    with connected(empty_database_url) as connection:
        old = columns(inspect(connection))
    to_revision(empty_database_url, after)
    with connected(empty_database_url) as connection:
        new = columns(inspect(connection))

    for table, had in old.items():
        assert had.items() <= new[table].items(), f"{table} lost or changed a column"
        for name, (_, is_nullable, default) in new[table].items():
            is_known = name in had
            assert is_known or is_nullable or default, f"{table}.{name} must be given"


def columns(inspector: Inspector) -> dict[str, dict[str, tuple[str, bool, Any]]]:
    return {
        table: {
            column["name"]: (
                str(column["type"]),
                column["nullable"],
                column["default"] or column.get("identity"),
            )
            for column in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
    }


def settings_for(url: str) -> Settings:
    """Complete settings of a platform on the database at ``url``."""
    return Settings(
        _env_file=None,
        database_url=SecretStr(url),
        redis_url=SecretStr("redis://127.0.0.1:1"),
        secret_key=SecretStr("k" * 40),
    )


def test_a_release_refuses_a_schema_that_it_does_not_know(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    with connected(empty_database_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()

    with pytest.raises(InsecureSettings, match="revision 9999, which this release does not know"):
        refuse_unready(settings_for(empty_database_url))


def test_a_release_refuses_a_database_without_its_schema(empty_database_url: str) -> None:
    with pytest.raises(InsecureSettings, match=r"lacks \d+ migration.*run `slipway migrate`"):
        refuse_unready(settings_for(empty_database_url))
