"""
A picture of one page of Ray's dashboard, which asks browsers for Ray's token.

The browser never gets it: it talks to a door on loopback that adds the token and lets GET through
alone.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from cluster.secrets import read_token
from tests.system.platform import Platform

CHROMIUM = shutil.which("chromium")
SIZE = "1400,900"
#: Milliseconds of the page's own clock in which its polling fills it.
PAGE_MS = 8000
TIMEOUT_S = 60


def take(platform: Platform, page: str, picture: Path) -> bool:
    """Write ``picture`` of ``page`` (``/#/serve``, say); False where there is no Chromium."""
    if CHROMIUM is None:
        return False
    with _door(platform) as url, _profile(platform) as profile:
        subprocess.run(
            [
                *("nice", CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
                f"--user-data-dir={profile}",
                f"--window-size={SIZE}",
                f"--virtual-time-budget={PAGE_MS}",
                f"--screenshot={picture.absolute()}",
                url + page,
            ],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    return True


@contextmanager
def _profile(platform: Platform) -> Iterator[Path]:
    directory = platform.home.parent / "chromium"
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _door(platform: Platform) -> Iterator[str]:
    token = read_token(platform.home / "secrets" / "ray_token")
    dashboard = httpx.Client(
        base_url=f"http://127.0.0.1:{platform.environment['DASHBOARD_PORT']}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT_S,
        trust_env=False,
    )

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = dashboard.get(self.path)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with dashboard, ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
