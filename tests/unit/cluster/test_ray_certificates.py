"""The script for Ray's mutual TLS makes pairs that trust each other and nobody else."""

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "cluster" / "tls" / "make_ray_certificates.sh"
pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is missing: apt-get install openssl"
)


def make(directory: Path, *nodes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", str(SCRIPT), str(directory), *nodes],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def context(directory: Path, node: str, *, is_server: bool) -> ssl.SSLContext:
    purpose = ssl.Purpose.CLIENT_AUTH if is_server else ssl.Purpose.SERVER_AUTH
    made = ssl.create_default_context(purpose, cafile=str(directory / "ca.crt"))
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(directory / node / "tls.crt", directory / node / "tls.key")
    return made


def peer_name(server: ssl.SSLContext, client: ssl.SSLContext, address: str) -> str:
    """Subject that the server sees of the client, after a handshake in both directions."""
    here, there = socket.socketpair()
    found: list[str] = []

    def serve() -> None:
        with server.wrap_socket(here, server_side=True) as secured:
            subject = secured.getpeercert()["subject"]  # type: ignore[index]  # it is required
            found.append(str(subject[0][0][1]))
            secured.sendall(b"x")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with client.wrap_socket(there, server_hostname=address) as secured:
        secured.recv(1)
    thread.join(10)
    return found[0]


def test_nodes_of_one_authority_trust_each_other(tmp_path: Path) -> None:
    assert make(tmp_path, "node1=10.0.0.1", "node2=10.0.0.2").returncode == 0

    server = context(tmp_path, "node1", is_server=True)
    client = context(tmp_path, "node2", is_server=False)

    assert peer_name(server, client, "10.0.0.1") == "node2"
    assert (tmp_path / "node1" / "tls.key").stat().st_mode & 0o077 == 0


def test_another_address_is_not_believed(tmp_path: Path) -> None:
    make(tmp_path, "node1=10.0.0.1")
    server = context(tmp_path, "node1", is_server=True)
    here, there = socket.socketpair()
    wrapped = context(tmp_path, "node1", is_server=False)
    thread = threading.Thread(target=_ignore_failure, args=(server, here), daemon=True)
    thread.start()

    with pytest.raises(ssl.SSLCertVerificationError):
        wrapped.wrap_socket(there, server_hostname="10.0.0.9")


def test_run_again_it_keeps_what_is_there(tmp_path: Path) -> None:
    make(tmp_path, "node1=10.0.0.1")
    before = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "node1" / "tls.crt").read_bytes()

    make(tmp_path, "node1=10.0.0.1", "node2=10.0.0.2")

    after = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "node1" / "tls.crt").read_bytes()
    assert after == before
    assert (tmp_path / "node2" / "tls.crt").exists()


def test_a_node_without_an_address_is_refused(tmp_path: Path) -> None:
    done = make(tmp_path, "node1")

    assert done.returncode == 2
    assert "NAME=ADDRESS" in done.stderr


def _ignore_failure(server: ssl.SSLContext, here: socket.socket) -> None:
    try:
        server.wrap_socket(here, server_side=True).close()
    except OSError:
        here.close()
