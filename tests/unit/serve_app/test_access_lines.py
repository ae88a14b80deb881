"""Each request leaves one line with its id, whichever way it took, and nothing that is secret."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.access_log import AccessLog, configure_access_log
from cluster.settings import Settings
from serve_app.middleware.outermost import Outermost
from tests.logs import access_log_files, read_lines
from tests.unit.serve_app.hot_requests import (
    API,
    REQUESTS,
    application,
    hot_application,
    instances,
    sent,
)
from tests.unit.serve_app.middleware.door import settings

pytestmark = pytest.mark.anyio
CANARY = "canary-5f1d9c"


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    return settings(slipway_home=tmp_path, max_request_size=2048)


@pytest.fixture
def log(made: Settings) -> Iterator[AccessLog]:
    log = configure_access_log(made, "ingress")
    yield log
    log.close()


def lines(log: AccessLog, made: Settings) -> list[dict[str, Any]]:
    log.close()
    return read_lines(access_log_files(made))


@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "an id of ours"])
async def test_both_ways_leave_the_same_line(name: str, made: Settings, log: AccessLog) -> None:
    app = application(made)
    await sent(app, REQUESTS[name])
    await sent(hot_application(app, made), REQUESTS[name])

    long, short = lines(log, made)
    for line in (long, short):
        del line["time"], line["ms"]
    assert short == long
    assert short["request_id"] == "request-1"


async def test_a_prediction_names_route_version_and_caller(made: Settings, log: AccessLog) -> None:
    await sent(hot_application(application(made), made), REQUESTS["a prediction"])

    (line,) = lines(log, made)
    assert line["route"] == "/api/v1/models/{model}/predict"
    assert (line["model"], line["version"], line["status"]) == ("id-of-m", 1, 200)
    assert (line["user"], line["key"]) == ("1", None)
    assert line["ms"] > 0


async def test_what_no_route_takes_has_a_line_without_one(made: Settings, log: AccessLog) -> None:
    await sent(hot_application(application(made), made), {"method": "GET", "path": "/nothing"})

    (line,) = lines(log, made)
    assert (line["path"], line["route"], line["status"]) == ("/nothing", None, 404)


async def test_a_caller_who_goes_away_has_a_line(made: Settings, log: AccessLog) -> None:
    async def gone(*_: Any) -> Any:
        raise ConnectionError

    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []}
    with pytest.raises(ConnectionError):
        await Outermost(gone, settings=made)(scope, gone, gone)

    (line,) = lines(log, made)
    assert line["status"] == 499


async def test_no_line_holds_query_header_or_body(made: Settings, log: AccessLog) -> None:
    secret = {
        "path": f"{API}?api_key={CANARY}",
        "headers": {"Authorization": f"Bearer {CANARY}", "Cookie": CANARY, "X-API-Key": CANARY},
        "json": {"instances": [[CANARY, 0, 0]]},
    }
    hot = hot_application(application(made), made)
    await sent(hot, secret)
    await sent(hot, {**secret, "headers": {"X-API-Key": "good"}})
    await sent(hot, instances(headers={"X-Request-ID": f"bad id {CANARY}"}))

    found = lines(log, made)
    assert [line["status"] for line in found] == [401, 422, 200]
    assert CANARY not in json.dumps(found)
