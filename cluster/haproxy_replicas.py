"""
The replicas that Serve forgets to name to HAProxy while it builds an application anew.

At a ``serve deploy`` that changes code or arguments Ray Serve 2.60 drops what it knows of the
application's ingress until a task has imported it (``_clear_target_state_and_store_config`` in
ray/serve/_private/application_state.py).  For those seconds HAProxy is given a backend of nothing
but Serve's own Python proxy, its last resort, though every replica runs: at 200 predictions a
second on 2 cores answers then took up to 10 s.

So the servers that a backend had last are kept beside the configuration, and put back into one that
has none.  Each is checked as ever, and where none is left the last resort takes over.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Beside the configuration, in a directory that is ours alone.
KEPT_NAME = "replicas.json"
#: Of servers by backend, as lines of the configuration.
Servers = dict[str, list[str]]


def with_known_replicas(configuration: str, directory: Path) -> str:
    """
    What Serve wrote, each backend with the replicas it had last where it has none now.

    Args:
        configuration: Made by Serve's template.
        directory: Where the servers of the last configuration are kept, and now of this one.
    """
    path = directory / KEPT_NAME
    named = _servers(configuration)
    known = _read(path)
    # A backend that is no more belongs to an application that is no more.
    kept = {backend: servers or known.get(backend, []) for backend, servers in named.items()}
    path.write_text(json.dumps(kept), encoding="utf-8")
    lacking = {backend: kept[backend] for backend, servers in named.items() if not servers}
    return "\n".join(_completed(configuration.splitlines(), lacking)) + "\n"


def _servers(configuration: str) -> Servers:
    """The lines of each backend that has servers at all; the last resort is not among them."""
    found: Servers = {}
    for backend, line in _with_backend(configuration.splitlines()):
        words = line.split()
        if words[:1] == ["default-server"] and backend:
            found.setdefault(backend, [])
        elif words[:1] == ["server"] and backend in found and "backup" not in words:
            found[backend].append(line)
    return found


def _completed(lines: Iterable[str], lacking: Servers) -> Iterator[str]:
    for backend, line in _with_backend(lines):
        yield line
        if line.split()[:1] == ["default-server"]:
            yield from lacking.get(backend, ())


def _with_backend(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each line with the backend it belongs to; empty outside of one."""
    backend = ""
    for line in lines:
        if line[:1].strip():
            words = line.split()
            backend = words[1] if words[0] == "backend" else ""
        yield backend, line


def _read(path: Path) -> Servers:
    try:
        known: Servers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # The first configuration of this HAProxy.
        return {}
    return known
