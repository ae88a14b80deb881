"""
The HTTP API as commands call it: a remote platform by URL and key, or this directory's own.

Answers that are no success become one sentence; the status and the request id go with it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Annotated, Any, Self

import httpx
import typer

from cluster.contracts import JsonObject
from cluster.errors import PlatformError
from serve_app.cli import local

ActAs = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="EMAIL", help="Act as this user of the local platform, not as its admin."
    ),
]
#: An upload of 100 MB over a slow line and its vetting.
TIMEOUT_S = 300.0


class ApiClient:
    """One command's connection."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @classmethod
    @contextmanager
    def connect(cls, act_as: str | None = None) -> Iterator[Self]:
        """
        A client of SLIPWAY_URL with SLIPWAY_API_KEY, else of this directory's platform.

        Raises:
            PlatformError: There is no key for the URL, or no local platform to act in.
        """
        if url := os.environ.get("SLIPWAY_URL"):
            headers = _remote_credential(url, act_as)
            is_local = False
        else:
            url, token = local.sign_in(act_as)
            headers = {"Authorization": f"Bearer {token}"}
            is_local = True
        # A proxy that the environment names is for other machines.
        with httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=not is_local
        ) as http:
            yield cls(http)

    def find(self, path: str) -> JsonObject | None:
        """What a GET answers; ``None`` for a 404."""
        response = self._send("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return _body(response)

    def get(self, path: str, **params: str | int) -> JsonObject:
        """What a GET answers."""
        return _body(self._send("GET", path, params=params))

    def get_all(self, path: str) -> list[JsonObject]:
        """Every item of a paginated list."""
        items: list[JsonObject] = []
        while True:
            page = self.get(path, limit=100, offset=len(items))
            items += page["items"]
            if not page["items"] or len(items) >= page["total"]:
                return items

    def post(self, path: str, body: JsonObject | None = None) -> JsonObject:
        """What a POST of JSON answers."""
        return _body(self._send("POST", path, json=body))

    def put(self, path: str, body: JsonObject) -> JsonObject:
        """What a PUT of JSON answers."""
        return _body(self._send("PUT", path, json=body))

    def delete(self, path: str) -> None:
        """DELETE, which answers nothing."""
        _body(self._send("DELETE", path))

    def upload(self, path: str, file: IO[bytes], fields: Mapping[str, str]) -> JsonObject:
        """What a multipart POST answers; the file is streamed."""
        files = {"file": ("model", file, "application/octet-stream")}
        return _body(self._send("POST", path, files=files, data=dict(fields)))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise PlatformError(
                f"{self._http.base_url} does not answer ({type(error).__name__}): "
                "start the platform with `slipway up`, or set SLIPWAY_URL"
            ) from error


def _remote_credential(url: str, act_as: str | None) -> dict[str, str]:
    if act_as is not None:
        raise PlatformError("--as is for the local platform: unset SLIPWAY_URL or drop --as")
    key = os.environ.get("SLIPWAY_API_KEY")
    if not key:
        raise PlatformError(f"SLIPWAY_API_KEY is not set: {url} needs an API key")
    return {"X-API-Key": key}


def _body(response: httpx.Response) -> JsonObject:
    if response.status_code == httpx.codes.NO_CONTENT:
        return {}
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise PlatformError(f"HTTP {response.status_code} without a JSON body: is this Slipway?")
    if response.is_success:
        return body
    raise PlatformError(_sentence(response, body), code=body.get("code", "internal"))


def _sentence(response: httpx.Response, body: JsonObject) -> str:
    said = str(body.get("error", "the request failed"))
    notes = [f"{fault['path']}: {fault['message']}" for fault in body.get("details", ())]
    lines = [said, *(note for note in notes if not note.endswith(said))]
    end = f"(HTTP {response.status_code}, request {body.get('request_id', '-')})"
    return "\n  ".join(lines) + f" {end}"
