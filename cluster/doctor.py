"""What a machine must have for a platform: one look and one sentence for each."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from cluster.addresses import own_http_ports, platform_ports
from cluster.errors import PlatformError
from cluster.exposure import OpenPorts, find_exposures
from cluster.ports import holder, is_free
from cluster.ray_head import remains, temporary_directory
from cluster.run_record import find_record
from cluster.settings import Settings

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where Ray maps its object store
LEAST_SHARED_MEMORY_BYTES = 256 * 1024**2
LEAST_DISK_BYTES = 2 * 1024**3
LEAST_MEMORY_BYTES = 3 * 1024**3
LEAST_PYTHON = (3, 11)
MIB = 1024**2


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One look: what was looked at, how it is, and what to do where it is not well."""

    name: str
    state: Literal["ok", "warning", "failed"]
    sentence: str


def examine(settings: Settings) -> list[Finding]:
    """Every finding on this machine, in the order in which one would mend them."""
    looks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _venv,
        _shared_memory,
        _memory,
        _disk,
        _ports,
        _ray,
        _exposure,
    )
    return [look(settings) for look in looks]


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        return _failed("python", f"Python {version} is too old: install 3.11 or newer")
    return _ok("python", f"Python {version}")


def _venv(_: Settings) -> Finding:
    if importlib.util.find_spec("ensurepip") is None:
        return _warning("venv", "virtual environments cannot be made: apt-get install python3-venv")
    return _ok("venv", "virtual environments can be made")


def _shared_memory(_: Settings) -> Finding:
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return _failed("shared_memory", f"{SHARED_MEMORY} is missing: mount a tmpfs there")
    size = f"{SHARED_MEMORY} has {usage.free // MIB} of {usage.total // MIB} MiB free"
    if usage.free < LEAST_SHARED_MEMORY_BYTES:
        need = LEAST_SHARED_MEMORY_BYTES // MIB
        return _failed(
            "shared_memory", f"{size}, {need} are needed: in a container set --shm-size=1g"
        )
    return _ok("shared_memory", size)


def _memory(_: Settings) -> Finding:
    available = psutil.virtual_memory().available
    text = f"{available // MIB} MiB of memory are available"
    if available < LEAST_MEMORY_BYTES:
        return _warning("memory", f"{text}; the platform takes about 2200 when idle")
    return _ok("memory", text)


def _disk(settings: Settings) -> Finding:
    place = settings.slipway_home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free // MIB} MiB are free for {settings.slipway_home}"
    if not os.access(place, os.W_OK):
        return _failed("disk", f"{place} cannot be written: choose another SLIPWAY_HOME")
    if free < LEAST_DISK_BYTES:
        return _failed("disk", f"{text}, {LEAST_DISK_BYTES // MIB} are needed: free some space")
    return _ok("disk", text)


def _ports(settings: Settings) -> Finding:
    if _is_up(settings.slipway_home):
        return _ok("ports", "the platform of this directory runs and holds its ports")
    taken = [
        f"{port} is taken by {holder(port)}: stop it or set {name}"
        for name, port in platform_ports(settings).items()
        if not is_free(port)
    ]
    if taken:
        return _failed("ports", "; ".join(taken))
    return _ok("ports", "free: " + ", ".join(map(str, platform_ports(settings).values())))


def _ray(settings: Settings) -> Finding:
    try:
        temporary = temporary_directory(settings.slipway_home)
    except PlatformError as error:
        return _failed("ray", error.message)
    record = find_record(settings.slipway_home)
    count = len(remains(temporary, record.head if record else None))
    if count and not _is_up(settings.slipway_home):
        return _warning(
            "ray", f"{count} processes of a killed run are left: the next `slipway up` ends them"
        )
    return _ok("ray", f"{count} processes of this platform's Ray run")


def _exposure(settings: Settings) -> Finding:
    home = settings.slipway_home
    record = find_record(home)
    if record is None or not _is_up(home):
        return _ok("exposure", "no platform of this directory runs")
    faults = find_exposures(
        remains(temporary_directory(home), record.head),
        OpenPorts.of(settings, own_http_ports(home)),
        record.dashboard_url,
    )
    if faults:
        return _failed("exposure", "; ".join(faults))
    return _ok("exposure", "Ray asks for its token, and nothing unexpected can be reached")


def _is_up(home: Path) -> bool:
    record = find_record(home)
    return record is not None and record.find_launcher() is not None


def _ok(name: str, sentence: str) -> Finding:
    return Finding(name=name, state="ok", sentence=sentence)


def _warning(name: str, sentence: str) -> Finding:
    return Finding(name=name, state="warning", sentence=sentence)


def _failed(name: str, sentence: str) -> Finding:
    return Finding(name=name, state="failed", sentence=sentence)
