"""`slipway backup` as a shell starts it, on a platform with a real model."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skops.io
from pydantic import SecretStr
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sqlalchemy import create_engine, update
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from cluster.contracts import Examples, VetRequest
from cluster.embedded import EmbeddedPostgres
from cluster.settings import Settings
from deployments.loader import Loader
from serve_app.registry.models import create_model_with_version
from serve_app.registry.quotas import Quota
from serve_app.registry.records import NewVersion
from serve_app.registry.tables import ModelVersion

Run = subprocess.CompletedProcess[str]
Slipway = Callable[..., Run]


def slipway_in(home: Path, **environment: str) -> Slipway:
    def run(*words: str, stdin: str = "") -> Run:
        return subprocess.run(
            [sys.executable, "-c", "from serve_app.cli.main import main; main()", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(home, environment),
        )

    return run


def _environment(home: Path, more: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if "SLIPWAY" not in name}
    return inherited | {"ENV_FILE": "", "SLIPWAY_HOME": str(home)} | more


def document(run: Run) -> Any:
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def home(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a platform with one account, one key and one vetted model."""
    home = tmp_path_factory.mktemp("home")
    slipway = slipway_in(home, DATABASE_URL=database_url)
    words = ("users", "create", "you@example.org", "--role", "admin", "--password-stdin", "--json")
    user = document(slipway(*words, stdin="correct horse battery\n"))
    document(slipway("keys", "create", "--user", "you@example.org", "--name", "k", "--json"))
    _upload(home, database_url, user["id"])
    return home


def _upload(home: Path, database_url: str, owner_id: str) -> None:
    features, target = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(features, target)
    content = bytes(skops.io.dumps(model))
    sha256 = hashlib.sha256(content).hexdigest()
    examples = Examples(
        instances=features[:5].tolist(), predictions=model.predict(features[:5]).tolist()
    )
    settings = Settings(_env_file=None, slipway_home=home, database_url=SecretStr(database_url))
    loader = Loader(settings=settings)
    try:
        request = VetRequest(
            sha256=sha256, size_bytes=len(content), allowed_formats=("skops",), examples=examples
        )
        report = asyncio.run(loader.vet(content, request))
    finally:
        loader.close()
    new = NewVersion.from_report(report, sha256=sha256, size_bytes=len(content), examples=examples)
    with Session(create_engine(database_url, poolclass=NullPool)) as session:
        create_model_with_version(
            session,
            owner_id=owner_id,
            name="iris",
            new=new,
            quota=Quota(max_models=10, max_bytes=10**9),
        )
        session.commit()


@pytest.fixture(scope="module")
def slipway(home: Path, database_url: str) -> Slipway:
    """The command in that home."""
    return slipway_in(home, DATABASE_URL=database_url)


@pytest.fixture(scope="module")
def place(slipway: Slipway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one backup."""
    place = tmp_path_factory.mktemp("backups")
    document(slipway("backup", "create", str(place), "--json"))
    return place


def test_create_tells_what_was_backed_up(slipway: Slipway, tmp_path: Path, home: Path) -> None:
    made = document(slipway("backup", "create", str(tmp_path), "--json"))

    status = json.loads((home / "backup-status.json").read_text(encoding="utf-8"))
    assert made["rows"]["models"] == 1
    assert made["artifacts"] >= 1
    assert made["encrypted"] is False
    assert status["last_good_name"] == made["name"]
    assert status["last_error"] is None


def test_settings_go_along_and_secrets_do_not(place: Path) -> None:
    configuration = next(place.glob("backups/*/configuration.json")).read_text(encoding="utf-8")
    settings = json.loads(json.loads(configuration)["settings.json"])

    assert settings["max_rows"] == 100_000
    assert settings["secrets_given"] == ["DATABASE_URL"]
    assert not any(name in settings for name in ("database_url", "secret_key"))
    assert "postgresql" not in configuration


def test_list_and_verify_say_that_it_is_good(slipway: Slipway, place: Path) -> None:
    listed = document(slipway("backup", "list", str(place), "--json"))
    verified = document(slipway("backup", "verify", str(place), "--json"))

    assert [item["state"] for item in listed["backups"]] == ["complete"]
    assert verified["ok"] is True


def test_verify_tells_damage_by_path_and_ends_with_code_1(slipway: Slipway, tmp_path: Path) -> None:
    document(slipway("backup", "create", str(tmp_path), "--json"))
    dump = next(tmp_path.glob("backups/*/database.dump"))
    dump.write_bytes(dump.read_bytes()[:-1])

    verified = slipway("backup", "verify", str(tmp_path), "--json")

    damages = json.loads(verified.stdout)["backups"][0]["damages"]
    assert verified.returncode == 1
    assert [damage["path"] for damage in damages] == [dump.relative_to(tmp_path).as_posix()]


def test_a_failure_is_loud(slipway: Slipway, home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")

    failed = slipway("backup", "create", str(tmp_path / "file"), "--json")

    status = json.loads((home / "backup-status.json").read_text(encoding="utf-8"))
    logged = [
        json.loads(line)
        for path in (home / "logs").glob("slipway.backup.*.log")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "Traceback" not in failed.stderr
    assert status["last_error"]
    assert [line["action"] for line in logged if line["level"] == "ERROR"] == ["backup_failed"]


def test_restore_fills_an_empty_host_and_asks_its_models_again(
    place: Path, empty_database_url: str, tmp_path: Path
) -> None:
    there = slipway_in(tmp_path / "home", DATABASE_URL=empty_database_url)

    restored = document(there("backup", "restore", str(place), "--json"))

    users = document(there("users", "list", "--json"))["items"]
    keys = document(there("keys", "list", "--user", "you@example.org", "--json"))["items"]
    assert restored["replayed"]["versions"] == 1
    assert restored["replayed"]["predictions"] > 5
    assert restored["replayed"]["differences"] == []
    assert [user["email"] for user in users] == ["you@example.org"]
    assert [key["name"] for key in keys] == ["k"]


def test_restore_starts_the_embedded_server_where_there_is_none(
    place: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    there = slipway_in(home)
    try:
        document(there("backup", "restore", str(place), "--revoke-keys", "--json"))

        users = document(there("users", "list", "--json"))["items"]
        keys = document(there("keys", "list", "--user", "you@example.org", "--json"))["items"]
    finally:
        EmbeddedPostgres(home).destroy()
    assert [user["email"] for user in users] == ["you@example.org"]
    assert keys == []


def test_a_restore_over_something_needs_to_be_told(slipway: Slipway, place: Path) -> None:
    refused = slipway("backup", "restore", str(place), "--json")

    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    assert refused.stdout == ""


def test_a_model_that_answers_differently_now_is_told(
    home: Path, database_url: str, slipway: Slipway, empty_database_url: str, tmp_path: Path
) -> None:
    with Session(create_engine(database_url, poolclass=NullPool)) as session:
        kept = session.query(ModelVersion.examples).scalar()
        examples = kept | {"predictions": [2, 2, 2, 2, 2]}
        session.execute(update(ModelVersion).values(examples=examples))
        session.commit()
        document(slipway("backup", "create", str(tmp_path / "backups"), "--json"))
        session.execute(update(ModelVersion).values(examples=kept))
        session.commit()
    there = slipway_in(tmp_path / "home", DATABASE_URL=empty_database_url)

    restored = there("backup", "restore", str(tmp_path / "backups"), "--json")

    assert restored.returncode == 1
    assert "iris version 1" in restored.stderr
    assert len(json.loads(restored.stdout)["replayed"]["differences"]) == 1


def test_prune_keeps_the_newest(slipway: Slipway, tmp_path: Path) -> None:
    document(slipway("backup", "create", str(tmp_path), "--json"))
    second = document(slipway("backup", "create", str(tmp_path), "--json"))["name"]

    pruned = document(slipway("backup", "prune", str(tmp_path), "--keep-days", "0", "--json"))

    listed = document(slipway("backup", "list", str(tmp_path), "--json"))["backups"]
    assert len(pruned["deleted"]) == 1
    assert [item["name"] for item in listed] == [second]


def test_a_passphrase_file_encrypts(slipway: Slipway, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    place = str(tmp_path / "backups")

    made = document(slipway("backup", "create", place, "--passphrase-file", str(secret), "--json"))

    verified = slipway("backup", "verify", place, "--passphrase-file", str(secret))
    unopened = slipway("backup", "verify", place)
    assert made["encrypted"] is True
    assert verified.returncode == 0
    assert unopened.returncode == 1
    assert "--passphrase-file" in unopened.stderr


def test_schedule_makes_one_that_is_overdue_and_ends_by_sigterm(
    home: Path, database_url: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from serve_app.cli.main import main; main()"),
            *("backup", "schedule", str(tmp_path), "--every", "5 minutes"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(home, {"DATABASE_URL": database_url}),
    )
    assert process.stderr is not None
    told = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    code = process.wait(60)
    process.stderr.close()

    assert "made in" in told
    assert code == 0, rest
    assert len(list(tmp_path.glob("backups/*/manifest.sum"))) == 1


@pytest.mark.parametrize("words", [("--every", "1 minute"), ("--at", "noon")])
def test_a_schedule_that_makes_no_sense_is_used_wrongly(
    slipway: Slipway, place: Path, words: tuple[str, ...]
) -> None:
    assert slipway("backup", "schedule", str(place), *words).returncode == 2


def test_gc_deletes_nothing_that_is_needed(slipway: Slipway) -> None:
    collected = document(slipway("models", "gc", "--dry-run", "--json"))

    assert collected == {"files": 0, "size_bytes": 0, "dry_run": True}
