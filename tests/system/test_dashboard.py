"""The Ray dashboard is the monitoring door: applications, replicas and our own metrics."""

from pathlib import Path

import httpx

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import Platform, wait_until
from tests.system.zoo import iris


def dashboard(platform: Platform) -> httpx.Client:
    token = next(Path(platform.home).rglob("ray_token")).read_text().strip()
    return httpx.Client(
        base_url=f"http://127.0.0.1:{platform.environment['DASHBOARD_PORT']}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )


def scrape(target: str) -> str:
    """What one of Ray's exporters says; nothing where it names one that has not started."""
    try:
        return httpx.get(f"http://{target}/metrics", timeout=10).text
    except httpx.HTTPError:
        return ""


def test_it_shows_three_healthy_deployments(platform: Platform) -> None:
    with dashboard(platform) as http:
        applications = http.get("/api/serve/applications/").raise_for_status().json()

    application = applications["applications"]["slipway"]
    assert application["status"] == "RUNNING"
    states = {name: d["status"] for name, d in application["deployments"].items()}
    assert states == {"Ingress": "HEALTHY", "Loader": "HEALTHY", "Predictor": "HEALTHY"}


def test_it_refuses_whoever_has_no_token(platform: Platform) -> None:
    with dashboard(platform) as http:
        http.headers.pop("Authorization")

        refused = http.get("/api/serve/applications/")

    assert refused.status_code in {401, 403}


def test_our_metrics_are_exported_by_model(platform: Platform, user: ApiUser) -> None:
    case = iris()
    created = user.upload("iris", as_bytes(case.model, "joblib")).raise_for_status().json()
    user.predict("iris", case.instances).raise_for_status()

    def is_exported() -> bool:
        with dashboard(platform) as http:
            groups = http.get("/api/prometheus/sd").raise_for_status().json()
        targets = {target for group in groups for target in group["targets"]}
        return any(
            "slipway_predictions_total" in text and created["id"] in text
            for text in map(scrape, targets)
        )

    wait_until(is_exported, what="the metric of this model", timeout_s=60)
