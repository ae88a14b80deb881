"""A real Prometheus scrapes a running platform as configured; the dashboard's queries find data."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import REPOSITORY, Platform, free_ports, wait_until

PROMETHEUS = shutil.which("prometheus")
SHIPPED = REPOSITORY / "cluster" / "prometheus"
DASHBOARD: dict[str, Any] = json.loads(
    (REPOSITORY / "cluster/grafana/dashboards/slipway.json").read_text()
)
ROW = [5.1, 3.5, 1.4, 0.2]
#: Metrics of what does not happen to a platform that is well: their queries may find nothing.
RARE = {
    "ray_slipway_model_evictions_total",
    "ray_slipway_fail_open_total",
    "ray_slipway_quarantines_total",
    "ray_slipway_scaling_changes_total",
    "ray_serve_deployment_error_counter_total",
    "ray_serve_num_scheduling_tasks_in_backoff",
    # Of Serve's gRPC door, which is closed here.
    "ray_serve_num_ongoing_grpc_requests",
}
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is missing: apt-get install prometheus"
)


@dataclass
class Prometheus:
    """A running server."""

    http: httpx.Client

    def get(self, path: str, **parameters: str) -> Any:
        answer = self.http.get(f"/api/v1/{path}", params=parameters)
        document = answer.json()
        assert document["status"] == "success", document
        return document["data"]

    def values(self, query: str) -> list[float]:
        """What an instant query finds, less what is no number."""
        found = self.get("query", query=query)["result"]
        numbers = [float(series["value"][1]) for series in found]
        return [number for number in numbers if number == number]  # noqa: PLR0124 - NaN is not

    @property
    def is_scraping(self) -> bool:
        """Whether it has found Ray's agent and reads it."""
        try:
            return bool(self.values('up{job="ray"} == 1'))
        except (httpx.HTTPError, ValueError):
            return False  # it starts: nothing listens yet, or it says so in plain text


@pytest.fixture(scope="module")
def prometheus(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Debian's, with the shipped files; only ports, the token's place and the periods differ."""
    directory = tmp_path_factory.mktemp("prometheus")
    (port,) = free_ports(1)
    text = (SHIPPED / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:8265", f"127.0.0.1:{platform.environment['DASHBOARD_PORT']}")
    text = text.replace("/run/secrets/ray_token", str(platform.home / "secrets" / "ray_token"))
    configuration = yaml.safe_load(text)
    configuration["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s"}
    for job in configuration["scrape_configs"]:
        for discovery in job.get("http_sd_configs", ()):
            discovery["refresh_interval"] = "1s"
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copy(SHIPPED / "alerts.yml", directory)
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                str(PROMETHEUS),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            made = Prometheus(http)
            wait_until(lambda: made.is_scraping, what="Prometheus's first scrape", timeout_s=90)
            yield made
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def load(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Good predictions and bad ones, an upload that is refused, a limit that is hit, a backup."""
    features, target = load_iris(return_X_y=True)
    content = as_bytes(KNeighborsClassifier(3).fit(features, target), "joblib")
    ends = threading.Event()
    with ApiUser.register(platform.url) as user:
        user.upload("neighbours", content).raise_for_status()
        assert user.upload("bad", b"not a model").status_code == 422
        limited = user.http.post(
            "/api/v1/api-keys", json={"name": "limited", "rate_limit": 1}, headers=user.headers
        ).raise_for_status()
        place = tmp_path_factory.mktemp("backups")
        assert platform.run("backup", "create", str(place)).returncode == 0

        def run() -> None:
            number = 0
            while not ends.wait(0.02):
                number += 1
                # A row of its own each time: answers of slow models are kept by input.
                user.predict("neighbours", [[*ROW[:3], number / 1000]])
                user.predict("neighbours", [["a", 0, 0, 0]])
                user.http.post(
                    "/api/v1/models/neighbours/predict",
                    json={"instances": [ROW]},
                    headers={"X-API-Key": limited.json()["key"]},
                )
                user.upload("bad", b"not a model either")
                user.http.get("/api/v1/models", headers=user.headers)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join()


def queries() -> list[tuple[str, str]]:
    """Title of each panel and its query, filled as Grafana does."""
    return [
        (panel["title"], filled(target["expr"]))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


def filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "30s").replace("$model", ".*")


def is_rare(query: str) -> bool:
    return any(name in query for name in RARE)


def test_every_query_of_the_dashboard_finds_data(
    prometheus: Prometheus, load: None, tmp_path: Path
) -> None:
    empty: dict[str, str] = {}

    def are_full() -> bool:
        empty.clear()
        empty.update({query: title for title, query in queries() if not prometheus.values(query)})
        return all(map(is_rare, empty))

    try:
        wait_until(are_full, what="data for each panel", timeout_s=120)
    except AssertionError:
        missing = [f"{title}: {query}" for query, title in empty.items() if not is_rare(query)]
        raise AssertionError("panels without data:\n" + "\n".join(missing)) from None


def test_the_model_selector_has_models(prometheus: Prometheus, load: None) -> None:
    def models() -> list[str]:
        found: list[str] = prometheus.get(
            "label/model/values", **{"match[]": "ray_slipway_predictions_total"}
        )
        return found

    wait_until(lambda: bool(models()), what="a model to choose", timeout_s=60)
    assert all(len(model) == 36 for model in models())  # ids, never a caller


def test_every_rule_is_evaluated(prometheus: Prometheus, load: None) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    shipped = yaml.safe_load((SHIPPED / "alerts.yml").read_text())
    expected = sum(len(group["rules"]) for group in shipped["groups"])
    wait_until(
        lambda: all(rule["health"] != "unknown" for rule in rules()),
        what="each rule's first evaluation",
        timeout_s=120,
    )

    assert [rule for rule in rules() if rule["health"] != "ok"] == []
    assert len(rules()) == expected
