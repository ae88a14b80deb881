"""What a failed deployment says: Serve's own reasons, those of the replicas among them."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from cluster.serve_api import DeployFailed, ServeApi

#: As Serve 2.60 answers when a constructor raises.
FAILED = {
    "applications": {
        "slipway": {
            "status": "DEPLOY_FAILED",
            "message": "Failed to update the deployments ['Predictor'].",
            "deployments": {
                "Predictor": {
                    "status": "DEPLOY_FAILED",
                    "message": "InsecureSettings: PREDICTOR_LANES must be at least 1",
                },
                "Loader": {"status": "HEALTHY", "message": ""},
            },
        }
    }
}


class Dashboard(BaseHTTPRequestHandler):
    """Answers every GET with the failed application."""

    def do_GET(self) -> None:
        """Answer."""
        body = json.dumps(FAILED).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def dashboard_url() -> Iterator[str]:
    """A dashboard of Serve's shape."""
    with HTTPServer(("127.0.0.1", 0), Dashboard) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_failed_deployment_gives_the_replicas_reason(dashboard_url: str) -> None:
    with pytest.raises(DeployFailed, match="Predictor: InsecureSettings: PREDICTOR_LANES"):
        ServeApi(dashboard_url, token=None).await_running("slipway", timeout_s=5)
