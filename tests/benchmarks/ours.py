"""A platform of its own, measured with everything on: keys, limits, validation, metrics."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import yaml

from cluster.secrets import read_token
from cluster.serve_api import DeployFailed, ServeApi
from cluster.serve_config import FILE_NAME
from tests.benchmarks import echo, models
from tests.benchmarks.closed_loop import Closed, Target
from tests.benchmarks.closed_loop import run as run_closed
from tests.benchmarks.open_loop import Open
from tests.benchmarks.open_loop import run as run_open
from tests.system.client import ApiUser, as_bytes
from tests.system.platform import REPOSITORY, Platform, kept_running, wait_until

#: Above what any of these machines can reach, so that the limit is checked and never hit.
_SETTINGS = {"DEFAULT_RATE_LIMIT": "100000000", "PYTHONPATH": str(REPOSITORY)}
REPLICAS = 2
ECHO = "echo"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A running platform with both models uploaded and warm, and the echo beside it."""

    platform: Platform
    targets: dict[str, Target]
    scratch: Path
    #: Seconds from `slipway up` to readiness.
    start_s: float
    #: Seconds of each upload, and of the first prediction after it, by model.
    upload_s: dict[str, float]
    first_ms: dict[str, float]

    def closed(self, name: str, *, connections: int, seconds: int) -> Closed:
        """One closed-loop run; CPU over every process of the platform."""
        return run_closed(
            self.targets[name],
            connections=connections,
            seconds=seconds,
            pids=self.platform.processes,
            scratch=self.scratch,
        )

    def open(self, name: str, *, rate_per_s: float, seconds: float) -> Open:
        """One open-loop run."""
        return run_open(self.targets[name], rate_per_s=rate_per_s, seconds=seconds)


@contextmanager
def started(*, is_short_path: bool) -> Iterator[Bench]:
    """A platform with or without the short path, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory:
        scratch = Path(directory)
        began_s = time.monotonic()
        settings = _SETTINGS | {
            "WORKERS": str(REPLICAS),
            "SHORT_PATH_ENABLED": str(is_short_path).lower(),
        }
        _write_config(scratch / FILE_NAME)
        platform = replace(Platform.create(scratch, **settings), directory=scratch)
        with kept_running(platform):
            start_s = time.monotonic() - began_s
            _deploy_echo(platform)
            user = ApiUser.register(platform.url)
            upload_s, first_ms = {}, {}
            for name in models.NAMES:
                upload_s[name], first_ms[name] = _upload(user, name)
            targets = {name: _target(platform, user, name) for name in models.NAMES}
            row = models.row(models.IRIS)
            targets[ECHO] = Target(
                name=ECHO, url=f"{platform.url}/{echo.NAME}", body={"instances": [row]}
            )
            for target in targets.values():
                _warm(target)
            yield Bench(
                platform=platform,
                targets=targets,
                scratch=scratch,
                start_s=start_s,
                upload_s=upload_s,
                first_ms=first_ms,
            )


def _write_config(path: Path) -> None:
    """
    The shipped configuration without autoscaling: as many replicas all the time.

    A replica that starts takes a core for seconds, and would be measured as a cost of requests; the
    peers' workers are as many all the time too.
    """
    config = yaml.safe_load((REPOSITORY / FILE_NAME).read_text(encoding="utf-8"))
    for application in config["applications"]:
        for deployment in application["deployments"]:
            if (scaled := deployment.get("autoscaling_config")) is not None:
                scaled["max_replicas"] = REPLICAS
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def _deploy_echo(platform: Platform) -> None:
    token = read_token(platform.home / "secrets" / "ray_token")
    api = ServeApi(f"http://127.0.0.1:{platform.environment['DASHBOARD_PORT']}", token)
    wait_until(lambda: _is_accepted(api), what="Serve's consent to the echo")
    wait_until(lambda: _is_routed(platform), what="the echo")


def _is_accepted(api: ServeApi) -> bool:
    try:
        instance = api.instance()
        config = {name: instance[name] for name in ("proxy_location", "http_options")}
        deployed = [app["deployed_app_config"] for app in instance["applications"].values()]
        api.deploy({**config, "applications": [*deployed, echo.application(REPLICAS)]})
    except DeployFailed:
        # On a busy machine the dashboard is away for moments.
        return False
    return True


def _is_routed(platform: Platform) -> bool:
    try:
        answer = httpx.post(f"{platform.url}/{echo.NAME}", content=b"{}", timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK and answer.content == b"{}"


def _upload(user: ApiUser, name: str) -> tuple[float, float]:
    """Seconds of the upload, and milliseconds of the first prediction after it."""
    content = as_bytes(models.fitted(name), "joblib")
    began_s = time.perf_counter()
    user.upload(name, content).raise_for_status()
    uploaded_s = time.perf_counter()
    models.expect_answer(user.predict(name, [models.row(name)]), "predictions")
    return uploaded_s - began_s, 1000 * (time.perf_counter() - uploaded_s)


def _target(platform: Platform, user: ApiUser, name: str) -> Target:
    return Target(
        name=name,
        url=f"{platform.url}/api/v1/models/{name}/predict",
        body={"instances": [models.row(name)]},
        headers={"X-API-Key": user.key},
    )


def _warm(target: Target) -> None:
    """Ask often enough that every replica has loaded what it will use."""
    with httpx.Client(headers=dict(target.headers)) as client:
        for _ in range(200):
            client.post(target.url, json=target.body, timeout=30).raise_for_status()
