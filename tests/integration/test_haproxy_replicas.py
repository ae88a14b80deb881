"""What Serve writes for HAProxy while it builds an application: our program puts replicas back."""

import subprocess
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig

from cluster.haproxy import program_path
from cluster.haproxy_replicas import with_known_replicas

OLD = [ServerConfig(name=f"old-{n}", host="127.0.0.1", port=30_000 + n) for n in range(2)]
NEW = [ServerConfig(name="new", host="127.0.0.1", port=30_007)]
LAST_RESORT = ServerConfig(name="proxy", host="127.0.0.1", port=8_500)


class Place:
    """The directory of one HAProxy."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "haproxy.cfg"
        self._config = HAProxyConfig(
            socket_path=str(directory / "admin.sock"),
            server_state_base=str(directory),
            server_state_file=str(directory / "state"),
        )

    def write(self, *backends: BackendConfig) -> str:
        """As Serve writes it."""
        named = {str(backend.name): backend for backend in backends}
        HAProxyApi(self._config, named, str(self.path))._generate_config_file_internal()
        return self.path.read_text(encoding="utf-8")

    def told(self, *backends: BackendConfig) -> str:
        """As HAProxy gets to read it."""
        return with_known_replicas(self.write(*backends), self.path.parent)


def application(servers: list[ServerConfig]) -> BackendConfig:
    return BackendConfig(
        name="app", app_name="app", path_prefix="/", servers=servers, fallback_server=LAST_RESORT
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def servers(configuration: str) -> list[str]:
    """Names, with the last resort among them."""
    lines = [line.split() for line in configuration.splitlines()]
    return [words[1] for words in lines if words[:1] == ["server"]]


def test_replicas_that_serve_does_not_name_while_it_builds_stay(place: Place) -> None:
    before = place.told(application(OLD))
    meanwhile = place.told(application([]))
    again = place.told(application([]))

    assert servers(before) == servers(meanwhile) == servers(again) == ["old-0", "old-1", "proxy"]


def test_those_that_it_names_are_all(place: Place) -> None:
    place.told(application(OLD))

    assert servers(place.told(application(NEW))) == ["new", "proxy"]
    assert servers(place.told(application([]))) == ["new", "proxy"]


def test_those_of_an_application_that_was_deleted_are_forgotten(place: Place) -> None:
    place.told(application(OLD))
    place.told()

    assert servers(place.told(application([]))) == ["proxy"]


def test_a_record_that_cannot_be_read_is_none(place: Place) -> None:
    (place.path.parent / "replicas.json").write_text("{")

    assert servers(place.told(application([]))) == ["proxy"]


def test_haproxy_takes_what_the_program_made_of_it(place: Place) -> None:
    program = program_path()
    assert program is not None
    for named in (OLD, []):
        place.write(application(list(named)))
        checked = subprocess.run(
            [program, "-c", "-f", place.path], check=False, capture_output=True
        )
        assert checked.returncode == 0, checked.stderr

    assert servers(place.path.read_text(encoding="utf-8")) == ["old-0", "old-1", "proxy"]
