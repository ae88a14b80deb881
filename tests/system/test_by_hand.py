"""`ray start` and `serve deploy serve_config.yaml`, by hand, as README.md says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import REPOSITORY, Platform, wait_until
from tests.system.zoo import iris

#: The environment that the README gives, and one that leaves Serve as it is: its own proxy.
WHOLE = 'eval "$(slipway env)"'
WITHOUT_SERVE = 'eval "$(slipway env | grep -v RAY_SERVE_)"'


def shell(platform: Platform, environment: str, command: str) -> "subprocess.CompletedProcess[str]":
    bin_directory = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "-c", f"set -e; {environment}; {command}"],
        cwd=REPOSITORY,
        env=platform.environment | {"PATH": f"{bin_directory}:{platform.environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(WHOLE, id="ours"),
        pytest.param(WITHOUT_SERVE, id="serves-own-proxy", marks=pytest.mark.quiet),
    ],
)
def test_serve_deploy_gives_a_running_application(tmp_path: Path, environment: str) -> None:
    platform = Platform.create(tmp_path)
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    config["http_options"]["port"] = platform.port
    edited = tmp_path / "serve_config.yaml"
    edited.write_text(yaml.safe_dump(config))
    ports = platform.environment

    assert platform.run("services", "start").returncode == 0
    start = (
        f"{environment}; exec ray start --head --block --node-ip-address 127.0.0.1 "
        f"--port {ports['RAY_PORT']} --dashboard-port {ports['DASHBOARD_PORT']}"
    )
    head = subprocess.Popen(
        ["bash", "-c", start],
        cwd=REPOSITORY,
        env=platform.environment
        | {"PATH": f"{Path(sys.executable).parent}:{platform.environment['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{ports['DASHBOARD_PORT']}"

        def is_deployed() -> bool:
            return (
                shell(platform, environment, f"serve deploy -a {address} {edited}").returncode == 0
            )

        wait_until(is_deployed, what="the dashboard")
        wait_until(lambda: platform.is_ready, what="the application")

        def application() -> dict[str, Any]:
            told = yaml.safe_load(shell(platform, environment, f"serve status -a {address}").stdout)
            found: dict[str, Any] = told["applications"]["slipway"]
            return found

        # One Ingress answers before the last replica of the others runs.
        wait_until(lambda: application()["status"] == "RUNNING", what="every deployment")

        assert {d["status"] for d in application()["deployments"].values()} == {"HEALTHY"}
        case = iris()
        with ApiUser.register(platform.url) as user:
            user.upload("iris", as_bytes(case.model, "skops")).raise_for_status()
            answer = user.predict("iris", case.instances).raise_for_status().json()
            unknown = user.http.get("/nowhere")
        assert answer["predictions"] == case.model.predict(case.rows).tolist()
        assert unknown.json()["code"] == "not_found"
        assert unknown.headers["X-Content-Type-Options"] == "nosniff"
        shell(platform, environment, f"serve shutdown -y -a {address}")
    finally:
        head.terminate()
        head.wait(timeout=60)
        assert platform.run("services", "stop").returncode == 0
