"""Canaries: secrets of an operator and of a user, looked for wherever they must not be."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.ray_head import remains, temporary_directory
from cluster.run_record import find_record
from tests.system.platform import Platform, running
from tests.system.test_dashboard import dashboard

GIVEN = {
    "SECRET_KEY": f"canary-secret-key-{secrets.token_hex(24)}",
    "EDGE_TOKEN": f"canary-edge-token-{secrets.token_hex(24)}",
    "AWS_SECRET_ACCESS_KEY": f"canary-object-store-{secrets.token_hex(12)}",
    "PGPASSWORD": f"canary-postgres-{secrets.token_hex(12)}",
}
PASSWORD = f"canary password {secrets.token_hex(12)}"


@pytest.fixture(scope="module")
def canaried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with canaries for secrets."""
    with running(tmp_path_factory.mktemp("canaries"), WORKERS="1", **GIVEN) as platform:
        yield platform


@pytest.fixture(scope="module")
def told(canaried: Platform) -> dict[str, str]:
    """Every secret there is, once a user has signed in, erred, and been refused."""
    found = dict(GIVEN)
    for path in (canaried.home / "secrets").rglob("*"):
        if path.is_file():
            found[path.name] = path.read_text().strip()
    with httpx.Client(base_url=canaried.url, timeout=60) as http:
        body = {"email": "canary@example.org", "password": PASSWORD}
        http.post("/api/v1/auth/register", json=body).raise_for_status()
        tokens = http.post("/api/v1/auth/login", json=body).raise_for_status().json()
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        key = http.post("/api/v1/api-keys", json={"name": "k"}, headers=bearer)
        found |= {
            "password": PASSWORD,
            "access token": tokens["access_token"],
            "refresh token": tokens["refresh_token"],
            "API key": key.raise_for_status().json()["key"],
        }
        refused = [
            http.post("/api/v1/auth/login", json={**body, "email": "nobody@example.org"}),
            http.post("/api/v1/auth/login", json={**body, "extra": PASSWORD}),
            http.post("/api/v1/auth/register", json=body),
            http.post("/api/v1/auth/refresh", json={"refresh_token": found["API key"]}),
            http.get("/api/v1/users", headers={"X-API-Key": found["API key"]}),
            http.get("/api/v1/models/none", headers={"X-API-Key": found["API key"] + "x"}),
            http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {PASSWORD}"}),
        ]
    for answer in refused:
        assert answer.status_code >= 400
        assert_told_nothing(answer.text, found, f"the answer {answer.status_code}")
    return found


def assert_told_nothing(text: str, told: dict[str, str], where: str) -> None:
    assert [name for name, secret in told.items() if secret and secret in text] == [], where


def test_no_process_of_rays_has_a_secret_in_its_environment_or_command_line(
    canaried: Platform, told: dict[str, str]
) -> None:
    record = find_record(canaried.home)
    assert record is not None
    processes = list(remains(temporary_directory(canaried.home), record.head))
    assert len(processes) > 5

    for process in processes:
        for part in ("environ", "cmdline"):
            text = Path(f"/proc/{process.pid}/{part}").read_bytes().decode(errors="replace")
            assert_told_nothing(text, told, f"{part} of {process.name()}")


def test_no_log_has_a_secret(canaried: Platform, told: dict[str, str]) -> None:
    files = [
        path
        for place in (canaried.home / "logs", temporary_directory(canaried.home))
        for path in place.rglob("*")
        if path.is_file() and path.suffix in {".log", ".out", ".err", ".cfg", ".json", ".txt"}
    ]
    assert len(files) > 10

    for path in files:
        assert_told_nothing(path.read_text(errors="replace"), told, str(path))


def test_serve_knows_no_secret(canaried: Platform, told: dict[str, str]) -> None:
    with dashboard(canaried) as http:
        shown = http.get("/api/serve/applications/").raise_for_status().text

    assert_told_nothing(shown, told, "Serve's applications")


def test_the_files_of_secrets_are_their_owners_alone(canaried: Platform) -> None:
    files = [path for path in (canaried.home / "secrets").rglob("*") if path.is_file()]

    assert files
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}


def test_the_doctor_finds_nothing_exposed(canaried: Platform) -> None:
    answer = canaried.run("doctor", "--json")

    findings = {each["name"]: each for each in json.loads(answer.stdout)["findings"]}
    assert findings["exposure"]["state"] == "ok", findings["exposure"]["sentence"]
