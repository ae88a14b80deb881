"""Every kind of hostile client at once, through nginx, HAProxy and the Ingress replicas."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.edge_bodies import PACKAGE, find_lua_modules
from tests.integration.edge.nginx import find_nginx
from tests.system.hostile import ATTACKS
from tests.system.hostile_stage import Stage, attacked, opened
from tests.system.platform import wait_until

pytestmark = [
    pytest.mark.quiet,
    pytest.mark.nginx,
    pytest.mark.skipif(find_nginx() is None, reason="nginx is missing: apt-get install nginx"),
    pytest.mark.skipif(find_lua_modules() is None, reason=f"apt-get install {PACKAGE}"),
]
MIB = 1024 * 1024
#: Longer than the edge bears with headers or bodies that stop (10 s) or come by the byte (20 s).
SECONDS = 35.0
#: By when it has ended them, though all come at once and the machine has other things to do.
IN_TIME_S = 30.0
#: As ``hostile.numbered`` calls them.
SMUGGLED = re.compile(r"/(fst|smugl-)\d\d$")
#: How connections may end.
ENDINGS = {
    "idle": {"closed", "held"},
    "slow_headers": {"closed", "408", "held"},
    "slow_bodies": {"408", "closed", "held"},
    "slow_reads": {"closed", "held"},
    "short_bodies": {"closed", "408", "held"},
    "large_lengths": {"413", "held"},
    "endless_chunks": {"413", "closed", "held"},
    "header_floods": {"431", "closed", "held"},
    "smuggling": {"100", "200", "400", "401", "404", "405", "411", "421", "closed", "held"},
}
#: How what waits is ended while the attack goes on.
ENDED = {
    "idle": "closed",
    "slow_headers": "closed",
    "slow_bodies": "408",
    "slow_reads": "closed",
    "short_bodies": "closed",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with opened(tmp_path_factory.mktemp("hostile")) as made:
        yield made


def test_honest_predictions_go_on_among_them(stage: Stage) -> None:
    honest, endings, grown = attacked(stage, list(ATTACKS), seconds=SECONDS, rate_per_s=10)

    assert honest.statuses.keys() == {"200"}
    assert {name: set(found["endings"]) - ENDINGS[name] for name, found in endings.items()} == {
        name: set() for name in ATTACKS
    }
    for name, ending in ENDED.items():
        assert endings[name]["endings"].get(ending, 0) >= 0.9 * endings[name]["count"], name
        assert endings[name]["slowest_s"] < IN_TIME_S, name
    assert grown < 256 * MIB


def test_the_application_saw_no_request_that_the_edge_did_not(stage: Stage) -> None:
    """After the smuggling of the test before."""
    home = stage.platform.home
    wait_until(lambda: bool(by_ingress(home)), what="the lines of the log", timeout_s=20)

    # Read first, since requests still come; one whose client went away may not have got so far.
    assert by_ingress(home) - by_edge(stage) == set()


def by_edge(stage: Stage) -> set[str]:
    """Paths of the smugglers' requests that the edge passed on."""
    entries = [json.loads(line) for line in stage.edge.log.read_text().splitlines()]
    return {each["path"] for each in entries if each["upstream"] and SMUGGLED.match(each["path"])}


def by_ingress(home: Path) -> set[str]:
    """Those in the access logs of the Ingress replicas."""
    entries = [
        json.loads(line)
        for path in (home / "logs").glob("slipway.access.*")
        for line in path.read_text().splitlines()
    ]
    return {each["path"] for each in entries if SMUGGLED.match(each["path"])}
