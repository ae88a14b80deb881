"""What an operator sees of a running platform: access log, error events, traces, metrics."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from cluster.artifacts import object_key
from cluster.embedded import EmbeddedValkey
from tests.collectors import Collector, collector
from tests.system.client import ApiUser, as_bytes
from tests.system.platform import Platform, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CANARY = "canary-9e24d1"


@dataclass
class Watched:
    """A platform, those who watch it, and a model that only Predictors answer for."""

    platform: Platform
    sentry: Collector
    otlp: Collector
    user: ApiUser
    model: dict[str, Any]

    def predict(self, instances: list[Any], **headers: str) -> httpx.Response:
        return self.user.http.post(
            "/api/v1/models/neighbours/predict",
            params={"ignored": CANARY},
            json={"instances": instances},
            headers={"X-API-Key": self.user.key, **headers},
        )

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """Every log line with the request id."""
        found = []
        for file in sorted((self.platform.home / "logs").glob("slipway.*")):
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found += [line for line in lines if request_id in str(line.get("request_id", ""))]
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Started twice: in between the model's file rots on the disk."""
    features, target = load_iris(return_X_y=True)
    model = KNeighborsClassifier(3).fit(features, target)
    with collector() as sentry, collector() as otlp:
        platform = Platform.create(
            tmp_path_factory.mktemp("watched"),
            WORKERS="1",
            SENTRY_DSN=sentry.dsn,
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
            TRACE_SAMPLE_RATIO="0",
        )
        platform.start()
        try:
            with ApiUser.register(platform.url) as user:
                uploaded = user.upload("neighbours", as_bytes(model, "joblib"))
                made = uploaded.raise_for_status().json()
                yield Watched(platform, sentry, otlp, user, made)
        finally:
            platform.stop()


def test_a_prediction_leaves_one_line(watched: Watched) -> None:
    answer = watched.predict([[5.1, 3.5, 1.4, 0.2]], **{"X-Request-ID": "line-1"})
    assert answer.status_code == httpx.codes.OK

    wait_until(lambda: bool(watched.lines("line-1")), what="the access log's line", timeout_s=30)
    (line,) = watched.lines("line-1")
    assert (line["logger"], line["status"], line["method"]) == ("access", 200, "POST")
    assert line["route"] == "/api/v1/models/{model}/predict"
    assert (line["model"], line["version"]) == (watched.model["id"], 1)
    assert line["key"]
    assert line["user"]
    assert 0 < line["ms"] < 30_000


def test_a_callers_trace_goes_on_to_the_model(watched: Watched) -> None:
    parent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "trace-1"}

    # Another row than before, whose answer may be kept in the ingress.
    watched.predict([[6.2, 3.4, 5.4, 2.3]], **parent).raise_for_status()

    def is_whole() -> bool:
        return {"model", "predict batch"} <= {span["name"] for span in traced(watched)}

    wait_until(is_whole, what="the spans", timeout_s=60)
    wait_until(lambda: chain(watched)[-1] == PARENT, what="the spans between", timeout_s=60)
    names = chain(watched)
    assert names[0] == "model"
    assert "predict batch" in names
    assert any("Predictor" in name for name in names), names


def chain(watched: Watched) -> list[str]:
    """Names of the spans from the model's up; last the id of what is above, and not ours."""
    by_id = {span["spanId"]: span for span in traced(watched)}
    (span,) = [span for span in by_id.values() if span["name"] == "model"]
    names = [span["name"]]
    while (above := span["parentSpanId"]) in by_id:
        span = by_id[above]
        names.append(span["name"])
    return [*names, above]


def traced(watched: Watched) -> list[dict[str, Any]]:
    return [span for span in watched.otlp.spans() if span["traceId"] == TRACE]


def test_what_nobody_asked_to_trace_is_not(watched: Watched) -> None:
    """At a ratio of 0 the caller's word alone counts."""
    watched.predict([[5.9, 3.0, 5.1, 1.8]]).raise_for_status()

    assert {span["traceId"] for span in watched.otlp.spans()} <= {TRACE}


def test_status_says_when_the_platform_is_degraded(watched: Watched) -> None:
    """Valkey hangs: predictions go on, and whoever asks the platform's state is told."""
    platform = watched.platform
    pid = EmbeddedValkey(platform.home).pid
    assert pid is not None

    assert platform.run("status", "--json").returncode == 0
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: not platform.is_ready, what="an answer that it is not ready")
        told = platform.run("status", "--json")
    finally:
        os.kill(pid, signal.SIGCONT)

    assert told.returncode == 1
    states = {part["name"]: part["state"] for part in json.loads(told.stdout)["parts"]}
    assert states["http"] == "stopped"
    assert states["application"] == "running"
    wait_until(lambda: platform.run("status", "--json").returncode == 0, what="all well again")


def test_a_rotten_file_is_an_event_with_request_model_and_version(watched: Watched) -> None:
    platform = watched.platform
    platform.stop()
    rot(platform.home, watched.model["sha256"])
    platform.start()

    answer = watched.predict([[5.1, 3.5, 1.4, CANARY]], **{"X-Request-ID": "rotten-0"})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    answer = watched.predict([[5.1, 3.5, 1.4, 0.2]], **{"X-Request-ID": "rotten-1"})

    assert (answer.status_code, answer.json()["code"]) == (500, "artifact_corrupt")
    wait_until(lambda: bool(events(watched, "rotten-1")), what="the event", timeout_s=60)
    (event,) = events(watched, "rotten-1")
    assert event["release"] == "slipway@0.1.0"
    assert event["environment"] == "development"
    assert (event["tags"]["model"], event["tags"]["version"]) == (watched.model["id"], "1")
    assert event["exception"]["values"][-1]["type"] == "ArtifactCorrupt"


def events(watched: Watched, request_id: str) -> list[dict[str, Any]]:
    """What an ingress replica told Sentry of the request."""
    expected = {"process": "ingress", "request_id": request_id}
    told = watched.sentry.events()
    return [event for event in told if expected.items() <= event["tags"].items()]


def rot(home: Path, sha256: str) -> None:
    file = home / "models" / object_key(sha256)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)


def test_nobody_who_watches_was_told_a_secret(watched: Watched) -> None:
    secrets = [CANARY, watched.user.key, watched.user.headers["Authorization"].split()[1]]
    secrets += [
        path.read_text().strip()
        for path in (watched.platform.home / "secrets").rglob("*")
        # The DSN's key is what Sentry itself knows the sender by.
        if path.is_file() and path.name != "SENTRY_DSN"
    ]
    told = [body for each in (watched.sentry, watched.otlp) for _, body in each.received]
    told += [path.read_bytes() for path in (watched.platform.home / "logs").iterdir()]

    assert len(told) > 3
    for secret in secrets:
        assert not any(secret.encode() in each for each in told)
