"""Secrets leave the environment for files, and nothing of an earlier start lives on."""

import stat
from pathlib import Path

import pytest

from cluster.secrets import forget_handed, hand_over, ray_token_file, without_secrets
from cluster.settings import Settings

KEY = "k" * 48


def settings(home: Path, **given: object) -> Settings:
    return Settings(_env_file=None, slipway_home=home, **given)  # type: ignore[arg-type]  # by field


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ENVIRONMENT", "SLIPWAY_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_given_secret_becomes_a_private_file(tmp_path: Path) -> None:
    files = hand_over(tmp_path, settings(tmp_path, secret_key=KEY), {}, urls={}).files
    path = Path(files["SECRET_KEY_FILE"])

    assert path.read_text() == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_development_makes_a_key_and_keeps_it(tmp_path: Path) -> None:
    def read() -> str:
        handed = hand_over(tmp_path, settings(tmp_path), {}, urls={})
        return Path(handed.files["SECRET_KEY_FILE"]).read_text()

    assert read() == read()


def test_production_makes_no_key(tmp_path: Path) -> None:
    handed = hand_over(tmp_path, settings(tmp_path, environment="production"), {}, urls={})

    assert "SECRET_KEY_FILE" not in handed.files


def test_the_url_of_an_embedded_server_is_handed_over(tmp_path: Path) -> None:
    url = "postgresql+psycopg2://slipway:password@127.0.0.1:1/slipway"
    handed = hand_over(tmp_path, settings(tmp_path), {}, urls={"DATABASE_URL": url})

    assert Path(handed.files["DATABASE_URL_FILE"]).read_text() == url


def test_a_mounted_secret_is_named_where_it_lies(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.write_text(KEY)
    environment = {"SECRET_KEY_FILE": str(mounted)}
    handed = hand_over(tmp_path, settings(tmp_path, secret_key=KEY), environment, urls={})

    assert handed.files["SECRET_KEY_FILE"] == str(mounted)
    assert not (tmp_path / "secrets" / "given" / "SECRET_KEY").exists()


def test_a_secret_that_is_given_no_more_is_deleted(tmp_path: Path) -> None:
    before = hand_over(tmp_path, settings(tmp_path, sentry_dsn="https://a@b/1"), {}, urls={})
    after = hand_over(tmp_path, settings(tmp_path), {}, urls={})

    assert "SENTRY_DSN_FILE" not in after.files
    assert not Path(before.files["SENTRY_DSN_FILE"]).exists()


def test_object_store_credentials_become_files(tmp_path: Path) -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": "s3cret"}
    handed = hand_over(tmp_path, settings(tmp_path), environment, urls={})

    assert Path(handed.files["AWS_SECRET_ACCESS_KEY_FILE"]).read_text() == "s3cret"


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "DATABASE_URL", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "secret_key"]
)
def test_no_secret_stays_in_the_environment(name: str) -> None:
    assert without_secrets({name: "value", "PORT": "8000"}) == {"PORT": "8000"}


def test_rays_token_is_made_once(tmp_path: Path) -> None:
    token = ray_token_file(tmp_path, {}).read_text()

    assert ray_token_file(tmp_path, {}).read_text() == token


def test_rays_token_may_be_given(tmp_path: Path) -> None:
    assert ray_token_file(tmp_path, {"RAY_AUTH_TOKEN": "given"}).read_text() == "given"


def test_what_slipway_env_put_into_a_shell_is_no_mounted_secret(tmp_path: Path) -> None:
    mounted = str(tmp_path / "mounted")
    environment = {
        "DATABASE_URL_FILE": str(tmp_path / "secrets" / "given" / "DATABASE_URL"),
        "SECRET_KEY_FILE": mounted,
    }
    forget_handed(tmp_path, environment)

    assert environment == {"SECRET_KEY_FILE": mounted}
