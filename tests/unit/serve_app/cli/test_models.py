"""`slipway models` and `slipway predict` against a server that notes what it is asked."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.main import app

UPLOADED = {"name": "iris", "version": 2, "endpoint": "/api/v1/models/iris/predict"}


@dataclass
class Server:
    """Answers by method and path; notes every request."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self, what: str) -> list[bytes]:
        """What was sent with this method and path."""
        return [body for asked, _, body in self.seen if asked == what]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    noted = Server()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = f"{self.command} {self.path.partition('?')[0]}"
            noted.seen.append((asked, dict(self.headers), body))
            missing = {"error": "no model", "code": "model_not_found", "request_id": "r-1"}
            status, answer = noted.answers.get(asked, (404, missing))
            self.send_response(status)
            self.end_headers()
            if answer is not None:
                self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server names them

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    monkeypatch.setenv("SLIPWAY_URL", f"http://127.0.0.1:{httpd.server_port}")
    monkeypatch.setenv("SLIPWAY_API_KEY", "slp_key")
    try:
        yield noted
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "iris.skops"
    path.write_bytes(b"some model")
    return path


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, words, input=stdin)


def test_a_new_name_becomes_a_model(server: Server, model_file: Path) -> None:
    server.answers["POST /api/v1/models"] = (201, UPLOADED | {"warnings": ["old minor"]})

    result = run("models", "upload", str(model_file), "--name", "iris", "--json")

    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["version"] == 2
    assert "old minor" in result.stderr
    (body,) = server.bodies("POST /api/v1/models")
    assert b"some model" in body
    assert b'name="name"\r\n\r\niris' in body
    assert server.seen[0][1]["X-API-Key"] == "slp_key"


def test_a_known_name_gets_a_version(server: Server, model_file: Path, tmp_path: Path) -> None:
    examples = tmp_path / "examples.json"
    examples.write_text('{"instances": [[1]]}')
    server.answers["GET /api/v1/models/iris"] = (200, {"name": "iris"})
    server.answers["POST /api/v1/models/iris/versions"] = (201, UPLOADED)

    result = run(
        "models", "upload", str(model_file), "--name", "iris", "--promote",
        "--examples", str(examples),
    )  # fmt: skip

    assert result.stdout == "iris version 2: /api/v1/models/iris/predict\n"
    (body,) = server.bodies("POST /api/v1/models/iris/versions")
    assert b'name="promote"\r\n\r\ntrue' in body
    assert b'{"instances": [[1]]}' in body


def test_a_refusal_is_the_platforms_sentence(server: Server, model_file: Path) -> None:
    server.answers["POST /api/v1/models"] = (
        422,
        {
            "error": "the file names os.system",
            "code": "upload_refused",
            "request_id": "r-7",
            "details": [{"path": "/file", "code": "global", "message": "refused"}],
        },
    )

    result = run("models", "upload", str(model_file), "--name", "iris", "--json")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "the file names os.system" in result.stderr
    assert "/file: refused" in result.stderr
    assert "r-7" in result.stderr


def test_every_page_of_a_list_is_read(server: Server) -> None:
    row = {"name": "m", "status": "ready", "production": 1}
    server.answers["GET /api/v1/models"] = (200, {"items": [row], "total": 3})

    result = run("models", "list", "--json")

    assert len(json.loads(result.stdout)["items"]) == 3


def test_rollback_goes_to_the_previous_version(server: Server) -> None:
    alias = {"alias": "production", "version": 3, "previous_version": 2}
    server.answers["GET /api/v1/models/iris/aliases"] = (200, {"items": [alias]})
    server.answers["PUT /api/v1/models/iris/aliases/production"] = (200, alias)

    result = run("models", "rollback", "iris")

    assert result.exit_code == 0, result.stderr
    (body,) = server.bodies("PUT /api/v1/models/iris/aliases/production")
    assert json.loads(body) == {"version": 2}


def test_without_an_earlier_version_there_is_no_rollback(server: Server) -> None:
    alias = {"alias": "production", "version": 1, "previous_version": None}
    server.answers["GET /api/v1/models/iris/aliases"] = (200, {"items": [alias]})

    result = run("models", "rollback", "iris")

    assert result.exit_code == 1
    assert "no earlier production version" in result.stderr


def test_delete_prints_one_document(server: Server) -> None:
    server.answers["DELETE /api/v1/models/iris"] = (204, None)

    result = run("models", "delete", "iris", "--json")

    assert json.loads(result.stdout) == {"deleted": "iris"}


@pytest.mark.parametrize(("rows", "stdin"), [("[[1, 2]]", None), ("-", "[[1, 2]]")])
def test_predict_sends_rows_and_prints_the_answer(
    server: Server, rows: str, stdin: str | None
) -> None:
    server.answers["POST /api/v1/models/iris/predict"] = (200, {"predictions": [0]})

    result = run("predict", "iris", "--json", rows, "--version", "2", stdin=stdin)

    assert json.loads(result.stdout) == {"predictions": [0]}
    (body,) = server.bodies("POST /api/v1/models/iris/predict")
    assert json.loads(body) == {"instances": [[1, 2]], "version": 2}


def test_rows_that_are_no_json_are_wrong_use(server: Server) -> None:
    result = run("predict", "iris", "--json", "[[1,")

    assert result.exit_code == 2
    assert server.seen == []


def test_a_url_needs_a_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_API_KEY")

    result = run("models", "list")

    assert result.exit_code == 1
    assert "SLIPWAY_API_KEY is not set" in result.stderr


def test_nobody_listening_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SLIPWAY_API_KEY", "slp_key")

    result = run("models", "list")

    assert result.exit_code == 1
    assert "does not answer" in result.stderr


def test_a_directory_without_a_platform_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPWAY_URL", raising=False)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))

    result = run("models", "list")

    assert result.exit_code == 1
    assert "there is no platform" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_handed_over(server: Server) -> None:
    moved = {"name": "iris", "owner": "eve@example.org"}
    server.answers["PUT /api/v1/models/some-id/owner"] = (200, moved)

    result = run("models", "transfer", "some-id", "eve@example.org")

    assert result.exit_code == 0, result.stderr
    assert result.stdout == "iris belongs to eve@example.org\n"
    (sent,) = server.bodies("PUT /api/v1/models/some-id/owner")
    assert json.loads(sent) == {"owner": "eve@example.org"}
