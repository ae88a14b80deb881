"""What Serve writes for HAProxy while it builds an application: our program puts replicas back."""

import subprocess
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig

from cluster.haproxy import Bounds, bounded, program_path
from cluster.haproxy_replicas import with_known_replicas
from cluster.ports import free_block
from tests.integration.edge.upstreams import raw_server, response
from tests.integration.haproxies import Place, application, replica

OLD = [replica(30_000 + n, f"old-{n}") for n in range(2)]
NEW = replica(30_007, "new")
LAST_RESORT = replica(8_500, "proxy")
PREDICT = "/api/v1/models/iris/predict"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.at(tmp_path)


def told(place: Place, *backends: BackendConfig) -> str:
    """As HAProxy gets to read it."""
    return with_known_replicas(place.write(*backends), place.directory)


def servers(configuration: str) -> list[str]:
    """Names, with the last resort among them."""
    lines = [line.split() for line in configuration.splitlines()]
    return [words[1] for words in lines if words[:1] == ["server"]]


def test_replicas_that_serve_does_not_name_while_it_builds_stay(place: Place) -> None:
    before = told(place, application(*OLD, last_resort=LAST_RESORT))
    meanwhile = told(place, application(last_resort=LAST_RESORT))
    again = told(place, application(last_resort=LAST_RESORT))

    assert servers(before) == servers(meanwhile) == servers(again) == ["old-0", "old-1", "proxy"]


def test_those_that_it_names_are_all(place: Place) -> None:
    told(place, application(*OLD, last_resort=LAST_RESORT))

    assert servers(told(place, application(NEW, last_resort=LAST_RESORT))) == ["new", "proxy"]
    assert servers(told(place, application(last_resort=LAST_RESORT))) == ["new", "proxy"]


def test_those_of_an_application_that_was_deleted_are_forgotten(place: Place) -> None:
    told(place, application(*OLD, last_resort=LAST_RESORT))
    told(place)

    assert servers(told(place, application(last_resort=LAST_RESORT))) == ["proxy"]


def test_a_record_that_cannot_be_read_is_none(place: Place) -> None:
    (place.directory / "replicas.json").write_text("{")

    assert servers(told(place, application(last_resort=LAST_RESORT))) == ["proxy"]


def test_where_they_have_died_since_the_last_resort_takes_over(place: Place) -> None:
    def answered(name: str) -> bytes:
        return response("200 OK", f'"{name}"')

    dead = replica(free_block(1))
    told(place, application(dead))
    with raw_server(lambda _: answered("last resort")) as server:
        last_resort = replica(server.port, "proxy")
        configuration = bounded(told(place, application(last_resort=last_resort)), Bounds())
        with place.running(configuration) as client:
            while (answer := client.post(PREDICT)).status_code != 200:
                assert answer.json()["code"] == "replica_unavailable"

    assert answer.json() == "last resort"


def test_haproxy_takes_what_the_program_made_of_it(place: Place) -> None:
    program = program_path()
    assert program is not None
    for named in (OLD, []):
        place.write(application(*named, last_resort=LAST_RESORT))
        checked = subprocess.run(
            [program, "-c", "-f", place.path], check=False, capture_output=True
        )
        assert checked.returncode == 0, checked.stderr

    assert servers(place.path.read_text(encoding="utf-8")) == ["old-0", "old-1", "proxy"]
