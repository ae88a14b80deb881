"""Settings come from the environment, then the dotenv file; unsafe ones are all named at once."""

from pathlib import Path

import pytest

from cluster.errors import InsecureSettings
from cluster.hardening import refuse_insecure
from cluster.setting_sources import Role, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ENVIRONMENT", "PORT", "DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.chdir(tmp_path)


def test_the_environment_wins_over_the_dotenv_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "some.env").write_text("PORT=9001\nWORKERS=3\n")
    monkeypatch.setenv("ENV_FILE", "some.env")
    monkeypatch.setenv("PORT", "9002")

    settings = load_settings()

    assert (settings.port, settings.workers) == (9002, 3)


def test_a_missing_dotenv_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_FILE", "nowhere.env")

    with pytest.raises(InsecureSettings, match=r"nowhere\.env, which does not exist"):
        load_settings()


def test_every_unreadable_value_is_named_and_none_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "eighty-canary")
    monkeypatch.setenv("WORKERS", "0")

    with pytest.raises(InsecureSettings) as refused:
        load_settings()

    assert "PORT" in refused.value.message
    assert "WORKERS" in refused.value.message
    assert "canary" not in refused.value.message


def test_a_secret_comes_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40 + "\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))

    secret = load_settings(Role.INGRESS).secret_key

    assert secret is not None
    assert secret.get_secret_value() == "k" * 40


@pytest.mark.parametrize("role", [Role.LOADER, Role.PREDICTOR])
def test_a_role_holds_only_its_own_secrets(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    monkeypatch.setenv("SECRET_KEY", "k" * 40)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h/d")

    settings = load_settings(role)

    assert settings.secret_key is None
    assert settings.database_url is None


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_database_url_names_its_driver(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u:p@h/d?sslmode=require")

    url = load_settings().database_url

    assert url is not None
    assert url.get_secret_value() == "postgresql+psycopg2://u:p@h/d?sslmode=require"


def test_relative_paths_resolve_against_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", "place")
    monkeypatch.setenv("UPLOAD_DIR", "files")

    settings = load_settings()

    assert settings.upload_dir == tmp_path / "place" / "files"
    assert settings.log_file == tmp_path / "place" / "logs" / "slipway.log"


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_unsafe_settings_are_refused_naming_every_fault(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    for name, value in {
        "ENVIRONMENT": environment,
        "DEBUG": "true",
        "SECRET_KEY": "short-canary",
        "CORS_ORIGINS": "*,http://plain.example",
        "ALLOWED_HOSTS": "*",
    }.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(InsecureSettings) as refused:
        refuse_insecure(load_settings(), is_database_embedded=True)

    message = refused.value.message
    for fault in ("DEBUG", "SECRET_KEY", "holds *", "http://plain", "ALLOWED_HOSTS", "embedded"):
        assert fault in message
    assert "canary" not in message


@pytest.mark.parametrize("key", ["changeme", "your-secret-key-change-in-production"])
def test_a_known_example_key_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", key)
    monkeypatch.setenv("ALLOWED_HOSTS", "api.example.org")

    with pytest.raises(InsecureSettings, match="known example"):
        refuse_insecure(load_settings(), is_database_embedded=False)


def test_safe_production_settings_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", "x7" * 20)
    monkeypatch.setenv("ALLOWED_HOSTS", "api.example.org")
    monkeypatch.setenv("CORS_ORIGINS", "https://app.example.org")

    refuse_insecure(load_settings(), is_database_embedded=False)
