"""`slipway users` and `slipway keys` against a real registry that nothing serves."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from serve_app.registry.tables import ApiKey, AuditEvent, User

PASSWORD = "correct horse battery\n"


@pytest.fixture(autouse=True)
def here(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url)


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, words, input=stdin)


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def made(email: str, role: str = "member") -> dict[str, Any]:
    words = ("users", "create", email, "--role", role, "--password-stdin", "--json")
    answer: dict[str, Any] = document(run(*words, stdin=PASSWORD))
    return answer


def test_a_user_is_made_from_standard_input(database_url: str) -> None:
    answer = made("Ada@Example.org", "publisher")

    engine = create_engine(database_url, poolclass=NullPool)
    with Session(engine) as session:
        user = session.scalars(select(User).where(User.email == "ada@example.org")).one()
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.target_id == answer["id"])
        ).one()
    assert str(user.id) == answer["id"]
    assert user.role == "publisher"
    assert user.password_hash.startswith("$argon2id$")
    assert (event.actor, event.action) == ("cli", "user.create")


def test_a_taken_address_is_one_sentence_and_code_1() -> None:
    made("twice@example.org")

    result = run(
        "users", "create", "twice@example.org", "--role", "member", "--password-stdin",
        stdin=PASSWORD,
    )  # fmt: skip

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("slipway: an account with this e-mail address exists")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        # a role that there is not
        (("users", "create", "x@example.org", "--role", "king"), "", 2),
        # no role at all
        (("users", "create", "x@example.org"), "", 2),
        # nowhere to ask for the password
        (("users", "create", "x@example.org", "--role", "member"), "", 2),
        # a weak password
        (
            ("users", "create", "x@example.org", "--role", "member", "--password-stdin"),
            "short\n",
            1,
        ),
        # no address
        (("users", "create", "x", "--role", "member", "--password-stdin"), PASSWORD, 1),
        # nobody of that address
        (("users", "set-role", "nobody@example.org", "member"), "", 1),
        (("keys", "create", "--user", "nobody@example.org", "--name", "k"), "", 1),
        # a scope that there is not
        (("keys", "create", "--user", "a@b", "--name", "k", "--scopes", "root"), "", 2),
        # a key that there is not
        (("keys", "revoke", "nothing"), "", 1),
        # a command that there is not
        (("users", "rule"), "", 2),
    ],
)
def test_wrong_use_is_told_apart_from_failure(
    words: tuple[str, ...], stdin: str, code: int
) -> None:
    result = run(*words, stdin=stdin)

    assert result.exit_code == code
    assert result.stderr
    assert "Traceback" not in result.output


def test_roles_and_activity_change() -> None:
    made("eve@example.org")

    promoted = document(run("users", "set-role", "eve@example.org", "publisher", "--json"))
    stopped = document(run("users", "deactivate", "eve@example.org", "--json"))
    started = document(run("users", "activate", "eve@example.org", "--json"))

    assert promoted["role"] == "publisher"
    assert stopped["is_active"] is False
    assert started["is_active"] is True


def test_a_new_password_ends_the_sessions() -> None:
    before = made("pat@example.org")

    after = document(
        run("users", "reset-password", "pat@example.org", "--password-stdin", "--json",
            stdin="another long password\n")
    )  # fmt: skip

    assert after["session_epoch"] == before["session_epoch"] + 1


def test_the_list_names_everybody() -> None:
    made("list@example.org")

    listed = document(run("users", "list", "--json"))
    for_people = run("users", "list")

    assert "list@example.org" in [user["email"] for user in listed["items"]]
    assert all("password_hash" not in user for user in listed["items"])
    assert "list@example.org" in for_people.stdout


def test_a_key_is_printed_once_and_stored_as_a_digest(database_url: str) -> None:
    made("keys@example.org")

    key = document(
        run("keys", "create", "--user", "keys@example.org", "--name", "app",
            "--scopes", "predict,models:read", "--rate-limit", "600000", "--json")
    )  # fmt: skip

    engine = create_engine(database_url, poolclass=NullPool)
    with Session(engine) as session:
        row = session.scalars(select(ApiKey).where(ApiKey.name == "app")).one()
    assert str(row.id) == key["id"]
    assert row.key_sha256 == hashlib.sha256(key["key"].encode()).digest()
    assert row.scopes == ["predict", "models:read"]
    assert row.rate_limit == 600_000


def test_a_revoked_key_leaves_the_list() -> None:
    made("gone@example.org")
    key = document(run("keys", "create", "--user", "gone@example.org", "--name", "k", "--json"))
    listed = document(run("keys", "list", "--user", "gone@example.org", "--json"))

    run("keys", "revoke", key["id"], "--json")
    left = document(run("keys", "list", "--user", "gone@example.org", "--json"))

    assert [item["id"] for item in listed["items"]] == [key["id"]]
    assert key["scopes"] == ["predict"]
    assert left["items"] == []


def test_a_key_is_rotated_and_both_are_listed() -> None:
    made("turn@example.org")
    words = ("keys", "create", "--user", "turn@example.org", "--name", "ci", "--json")
    old = document(run(*words))

    new = document(run("keys", "rotate", old["id"], "--overlap-s", "60", "--json"))

    listed = document(run("keys", "list", "--user", "turn@example.org", "--json"))
    assert (new["name"], new["replaces"]) == ("ci", old["id"])
    assert new["key"] != old["key"]
    assert {item["id"] for item in listed["items"]} == {old["id"], new["id"]}
