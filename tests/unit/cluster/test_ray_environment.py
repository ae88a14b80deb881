"""The environment of Ray's processes: ours wins where it must, and holds no secret."""

from pathlib import Path

import pytest

from cluster.ray_environment import RayPlaces, ray_environment
from cluster.secrets import hand_over
from cluster.settings import Settings

SECRET = "s" * 48


def environment(home: Path, inherited: dict[str, str], **given: object) -> dict[str, str]:
    settings = Settings(_env_file=None, slipway_home=home, **given)  # type: ignore[arg-type]  # by field
    places = RayPlaces(temporary=home / "ray", first_ingress_port=30_000, fallback_port=8500)
    handed = hand_over(home, settings, inherited, urls={})
    return ray_environment(settings, handed, places, inherited)


def test_no_value_of_a_secret_is_in_it(tmp_path: Path) -> None:
    inherited = {"SECRET_KEY": SECRET, "RAY_AUTH_TOKEN": SECRET, "DATABASE_URL": SECRET}
    made = environment(tmp_path, inherited, secret_key=SECRET)

    assert not any(SECRET in value for value in made.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAY_SERVE_ENABLE_HA_PROXY", "1"),
        ("RAY_AUTH_MODE", "token"),
        ("RAY_process_group_cleanup_enabled", "1"),
        # Loopback is loopback: without it Ray takes the outward address.
        ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"),
        ("FORWARDED_ALLOW_IPS", ""),
        # Predictors tell nobody outside what they run.
        ("ORT_DISABLE_TELEMETRY", "1"),
    ],
)
def test_what_protects_cannot_be_set_otherwise(tmp_path: Path, name: str, value: str) -> None:
    assert environment(tmp_path, {name: "other"})[name] == value


def test_tuning_of_the_operator_wins(tmp_path: Path) -> None:
    made = environment(tmp_path, {"RAY_SERVE_HAPROXY_NBTHREAD": "8"})

    assert made["RAY_SERVE_HAPROXY_NBTHREAD"] == "8"


def test_a_foreign_cluster_is_not_inherited(tmp_path: Path) -> None:
    assert "RAY_ADDRESS" not in environment(tmp_path, {"RAY_ADDRESS": "10.0.0.1:6379"})


def test_haproxy_waits_longer_than_the_request_deadline(tmp_path: Path) -> None:
    made = environment(tmp_path, {}, request_timeout_s=12)

    assert made["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"] == "17"


def test_ports_of_settings_reach_haproxy(tmp_path: Path) -> None:
    made = environment(tmp_path, {}, haproxy_stats_port=18404, haproxy_metrics_port=19101)

    assert made["RAY_SERVE_HAPROXY_STATS_PORT"] == "18404"
    assert made["RAY_SERVE_HAPROXY_METRICS_PORT"] == "19101"


def test_files_are_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env.test").touch()
    made = environment(Path("home"), {"ENV_FILE": ".env.test"})

    assert made["ENV_FILE"] == str(tmp_path / ".env.test")
    assert made["SLIPWAY_HOME"] == str(tmp_path / "home")


def test_a_switched_off_env_file_stays_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch()

    assert environment(tmp_path, {"ENV_FILE": ""})["ENV_FILE"] == ""


def test_haproxys_socket_fits_a_socket_path() -> None:
    places = RayPlaces(
        temporary=Path("/tmp/slipway-01234567m"), first_ingress_port=1, fallback_port=1
    )
    node_id = "f" * 56

    # HAProxy's UNIX_MAX_PATH: sun_path less the suffix of its temporary name.
    assert len(str(places.haproxy / node_id / "admin.sock")) <= 96
