"""An S3 server on loopback for tests: moto's, whose stored objects are closed at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of a running server; skips the test where moto is not installed."""
    moto = pytest.importorskip("moto.server")
    from moto.s3.models import s3_backends

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        # Each object is an open file, and a later test would be blamed for those left open.
        for account in list(s3_backends.values()):
            for backend in list(account.values()):
                backend.reset()
