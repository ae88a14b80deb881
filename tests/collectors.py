"""Stand-ins for Sentry and for an OpenTelemetry collector: they keep what is sent to them."""

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import brotli
from google.protobuf.json_format import (  # type: ignore[import-untyped]  # ships no types
    MessageToDict,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

INFLATE: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    # The SDK prefers it where a client of some test brought it along.
    "br": brotli.decompress,
}


@dataclass
class Collector:
    """An HTTP server on loopback that answers 200 to every POST."""

    port: int
    #: Path and inflated body of each request.
    received: list[tuple[str, bytes]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def dsn(self) -> str:
        """What to set SENTRY_DSN to."""
        return f"http://public0key@127.0.0.1:{self.port}/42"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> list[dict[str, Any]]:
        """Sentry's events so far: the payloads of that type in each envelope."""
        found = []
        for path, body in list(self.received):
            if path.startswith("/api/42/envelope"):
                _, *items = body.split(b"\n")
                pairs = zip(items[::2], items[1::2], strict=False)
                found += [json.loads(item) for head, item in pairs if b'"event"' in head]
        return found

    def spans(self) -> list[dict[str, Any]]:
        """OpenTelemetry's spans so far, as OTLP's JSON names their members; ids in hexadecimal."""
        found = []
        for path, body in list(self.received):
            if path == "/v1/traces":
                document = MessageToDict(ExportTraceServiceRequest.FromString(body))
                found += [
                    {**span, "resource": resource["resource"]}
                    for resource in document["resourceSpans"]
                    for scope in resource["scopeSpans"]
                    for span in scope["spans"]
                ]
        return [_with_plain_ids(span) for span in found]

    def wait_for_events(self, count: int, timeout_s: float = 30) -> list[dict[str, Any]]:
        """The events once there are ``count``."""
        with self.arrived:
            is_there = self.arrived.wait_for(lambda: len(self.events()) >= count, timeout_s)
        assert is_there, f"{len(self.events())} events came, not {count}"
        return self.events()


def _with_plain_ids(span: dict[str, Any]) -> dict[str, Any]:
    ids: dict[str, Any] = {
        name: base64.b64decode(span[name]).hex()
        for name in ("traceId", "spanId", "parentSpanId")
        if name in span
    }
    links = [_with_plain_ids(link) for link in span.get("links", [])]
    return {**span, **ids, **({"links": links} if links else {})}


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = INFLATE[self.headers.get("Content-Encoding", "identity")](body)
            with made.arrived:
                made.received.append((self.path, body))
                made.arrived.notify_all()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the library's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Collector(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
