"""A real nginx with the rendered configuration, a certificate of its own, on free ports."""

import contextlib
import datetime as dt
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.edge import EdgeConfig, render
from cluster.edge_bodies import BodyPace, find_lua_modules
from cluster.ports import free_block

HOST = "api.example.org"
TOKEN = "e" * 40
PATIENCE_S = 20.0


def parsed(text: bytes) -> httpx.Response:
    """A response out of its bytes, which hold one alone."""
    head, _, body = text.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    pairs = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=pairs, content=body)


def find_nginx() -> str | None:
    """The program; Debian keeps it where a user's PATH does not look."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A running edge."""

    http_port: int
    https_port: int
    certificate: Path
    pid: int
    log: Path

    def client(self, *, timeout_s: float = 30) -> httpx.Client:
        """A client that checks the certificate and asks for the edge's host."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(
            # The certificate has the address as a name too; the Host header is the service's.
            base_url=f"https://127.0.0.1:{self.https_port}",
            headers={"Host": HOST},
            verify=context,
            timeout=timeout_s,
            trust_env=False,
        )

    def plain_client(self) -> httpx.Client:
        """A client of the port without TLS."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.http_port}", headers={"Host": HOST}, trust_env=False
        )

    @contextlib.contextmanager
    def connection(self, *, timeout_s: float = 15) -> Iterator[ssl.SSLSocket]:
        """A raw TLS connection."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        with self.connection_with(context, timeout_s=timeout_s) as secured:
            yield secured

    @contextlib.contextmanager
    def connection_with(
        self, context: ssl.SSLContext, *, timeout_s: float = 15
    ) -> Iterator[ssl.SSLSocket]:
        """A raw connection with a TLS of the caller's choice."""
        with (
            socket.create_connection(("127.0.0.1", self.https_port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            yield secured

    def exchange(self, request: bytes) -> httpx.Response:
        """The first answer to bytes as they are; the connection's end ends it."""
        return parsed(self.raw_exchange(request))

    def raw_exchange(self, request: bytes, *, timeout_s: float = 15) -> bytes:
        """All that comes back until the edge closes."""
        received = b""
        with self.connection(timeout_s=timeout_s) as connection:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                connection.sendall(request)
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
                while piece := connection.recv(65536):
                    received += piece
        return received

    def resident_bytes(self) -> int:
        """Memory of all its processes."""
        pages = 0
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if int(entry.name) == self.pid or parent == self.pid:
                    pages += int((entry / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for the edge's host that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@contextlib.contextmanager
def running(directory: Path, door: int, **changes: object) -> Iterator[Edge]:
    """An edge before ``door``, a port of this machine; ``changes`` are fields of EdgeConfig."""
    program = find_nginx()
    assert program is not None
    certificate, key = make_certificate(directory)
    first = free_block(3)
    values: dict[str, object] = {
        "server_names": (HOST,),
        "token": TOKEN,
        "doors": (f"127.0.0.1:{door}",),
        "first_replica_port": free_block(4),
        "replica_ports": 4,
        "address": "127.0.0.1",
        "http_port": first,
        "https_port": first + 1,
        "public_https_port": 443,
        "probe_port": first + 2,
        "access_log": str(directory / "access.log"),
        "body_pace": BodyPace(lua_modules=find_lua_modules()),
        **changes,
    }
    config = EdgeConfig(
        certificate=certificate,
        certificate_key=key,
        directory=directory,
        **values,  # type: ignore[arg-type]  # by name, in each test
    )
    path = directory / "nginx.conf"
    path.write_text(render(config))
    user = "user root;" if os.geteuid() == 0 else ""
    log = directory / "error.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [program, "-c", str(path), "-e", "stderr", "-g", f"daemon off; {user}"], stderr=stderr
        )
    try:
        _await_probe(first + 2, process, log)
        yield Edge(
            http_port=first,
            https_port=first + 1,
            certificate=certificate,
            pid=process.pid,
            log=directory / "access.log",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)


def _await_probe(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    while process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/live", trust_env=False).is_success:
                return
    raise AssertionError(f"nginx ended: {log.read_text()}")
