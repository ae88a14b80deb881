"""
The one Ray head of a platform: started as a child, and ended without touching another cluster.

``ray stop`` ends every Ray process of the machine, so it is never called.  Ours are those of the
session that the head leads, and those that work in its own temporary directory.
"""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

from cluster.errors import PlatformError
from cluster.private_files import PRIVATE_DIRECTORY, private_directory
from cluster.processes import ServerProcess, end_all, find_process, processes_where
from cluster.ray_environment import haproxy_directory

#: The head drains for up to 30 s by itself when asked to end.
STOP_STAGES = ((signal.SIGTERM, 40.0), (signal.SIGKILL, 5.0))
REMAINS_STAGES = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))
OBJECT_STORE_BYTES = 1024**3
#: Ray asks for 75 MiB at least.
LEAST_OBJECT_STORE_BYTES = 80 * 1024**2
KEPT_SESSIONS = 3


class RayFailed(PlatformError):
    """Ray's head did not start; the sentence names its log."""

    code = "ray_failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RayPorts:
    """Ports of a head; ``gcs`` and ``dashboard`` are settings, the others are chosen free."""

    gcs: int
    dashboard: int
    agent: int
    client: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadRecord:
    """What an earlier run noted of its head, to recognise what is left of it."""

    pid: int
    created_s: float


def temporary_directory(home: Path, *, is_by_hand: bool = False) -> Path:
    """
    Ray's own directory for this SLIPWAY_HOME, mode 0700.

    A head that the operator starts by hand gets another one than ours: `slipway up` ends what it
    finds in its own.

    It lies in /tmp whatever the home is called: the path of a Unix socket holds 107 bytes, and of
    HAProxy's 96, most of which Ray's session and node names take.

    Raises:
        RayFailed: If somebody else has made it.
    """
    name = f"slipway-{sha256(str(home).encode()).hexdigest()[:8]}"
    path = Path("/tmp") / (f"{name}m" if is_by_hand else name)  # noqa: S108
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_DIRECTORY)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RayFailed(
            f"{path} belongs to somebody else: remove it or choose another SLIPWAY_HOME"
        )
    path.chmod(PRIVATE_DIRECTORY)
    private_directory(haproxy_directory(path))
    return path


def object_store_bytes() -> int:
    """Size of the object store: 1 GiB, or less where /dev/shm is small."""
    try:
        free_bytes = shutil.disk_usage("/dev/shm").free  # noqa: S108 - where Ray maps it
    except OSError:
        return LEAST_OBJECT_STORE_BYTES
    return max(LEAST_OBJECT_STORE_BYTES, min(OBJECT_STORE_BYTES, int(0.4 * free_bytes)))


class RayHead:
    """The head of one platform; ``start`` after ``stop`` works, as after a crash."""

    def __init__(
        self, *, home: Path, temporary: Path, ports: RayPorts, environment: Mapping[str, str]
    ) -> None:
        self._home = home
        self._temporary = temporary
        self._ports = ports
        self._environment = dict(environment)
        self._log = home / "logs" / "ray.log"
        self._server: ServerProcess | None = None
        self._record: HeadRecord | None = None

    @property
    def is_running(self) -> bool:
        """Whether the head lives; with ``--block`` it dies with any process of its own."""
        return self._server is not None and self._server.is_running

    @property
    def record(self) -> HeadRecord | None:
        """What to note for the next run."""
        return self._record

    @property
    def log(self) -> Path:
        """What the head itself writes; the rest is in its session's logs."""
        return self._log

    def start(self) -> None:
        """Start the head in a session of its own; it is not ready when this returns."""
        private_directory(self._log.parent)
        self._drop_old_sessions()
        with self._log.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our interpreter's own ``ray``
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._home,
                # Ctrl-C is the launcher's to answer, and the session is how we know what is ours.
                start_new_session=True,
            )
        self._server = ServerProcess.started(child)
        self._record = HeadRecord(pid=child.pid, created_s=psutil.Process(child.pid).create_time())

    def command(self) -> list[str]:
        """The arguments of ``ray start``."""
        return [
            str(Path(sys.executable).parent / "ray"),
            *("start", "--head", "--block", "--disable-usage-stats"),
            *("--node-ip-address", "127.0.0.1"),
            *("--port", str(self._ports.gcs)),
            *("--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", str(self._ports.dashboard)),
            *("--dashboard-agent-listen-port", str(self._ports.agent)),
            *("--ray-client-server-port", str(self._ports.client)),
            # It sends the logs of workers to a driver's terminal, and there is none.
            *("--include-log-monitor", "false"),
            # Zero lets the kernel choose: the default range is every cluster's default.
            *("--min-worker-port", "0", "--max-worker-port", "0"),
            *("--object-store-memory", str(object_store_bytes())),
            *("--temp-dir", str(self._temporary)),
        ]

    def stop(self) -> None:
        """End the head and everything that it started, HAProxy included."""
        if self._server is not None:
            self._server.end(STOP_STAGES)
            self._server = None
        end_remains(self._temporary, self._record)

    def _drop_old_sessions(self) -> None:
        """Logs of the last runs are kept, those of a year of restarts are not."""
        sessions = sorted(self._temporary.glob("session_2*"), reverse=True)
        for session in sessions[KEPT_SESSIONS:]:
            shutil.rmtree(session, ignore_errors=True)


def end_remains(temporary: Path, record: HeadRecord | None) -> list[psutil.Process]:
    """
    End what is left of a head that lived in ``temporary``.

    Returns:
        Processes that could not be ended.
    """
    return end_all(remains(temporary, record), REMAINS_STAGES)


def remains(temporary: Path, record: HeadRecord | None) -> list[psutil.Process]:
    """Live processes of the head that lived in ``temporary``."""
    return list(
        processes_where(
            lambda process: _is_in_session(process, record) or _works_for(process, temporary)
        )
    )


def _is_in_session(process: psutil.Process, record: HeadRecord | None) -> bool:
    if record is None or os.getsid(process.pid) != record.pid:
        return False
    if process.create_time() < record.created_s:
        return False
    # A leader that is alive and not the one we noted has been given its number since.
    leader = find_process(record.pid, lambda _: True)
    return leader is None or leader.create_time() == record.created_s


def _works_for(process: psutil.Process, temporary: Path) -> bool:
    """Whether it is a program of Ray's or HAProxy that was told ``temporary``."""
    words = process.cmdline()
    if not words:
        return False
    told = any(str(temporary) in word for word in words)
    if process.name() in {"raylet", "gcs_server", "haproxy"}:
        return told
    if told:
        return any("/ray/" in word or word.endswith("/bin/ray") for word in words)
    # A worker renames itself; the logs that it holds open stay.
    return words[0].startswith(("ray::", "ray-dashboard")) and _holds_file_of(process, temporary)


def _holds_file_of(process: psutil.Process, directory: Path) -> bool:
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            if str(descriptor.readlink()).startswith(f"{directory}/"):
                return True
    return False
