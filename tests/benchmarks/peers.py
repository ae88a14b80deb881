"""
The other ways to serve the same two models, each in an environment of its own.

``make bench-peers``, or ``python -m tests.benchmarks.peers``; the environments stay in the cache
directory for the next run.  Security, limits and validation are off in all of them.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks import models, report
from tests.benchmarks.closed_loop import Closed, Target
from tests.benchmarks.closed_loop import run as run_closed
from tests.benchmarks.processes import descendants
from tests.benchmarks.run import CONNECTIONS, machine_facts
from tests.system.platform import free_ports, wait_until

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway-bench"
SOURCES = Path(__file__).with_name("peer_sources")
PATIENCE_S = 120.0
#: Bodies as the open protocol, MLflow and the rest want them.
Body = Callable[[list[float]], Any]


def instances(row: list[float]) -> Any:
    """The body of those whose server is written by hand."""
    return {"instances": [row]}


def tensor(row: list[float]) -> Any:
    """The body of the Open Inference Protocol."""
    shape = [1, len(row)]
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP64", "data": row}]}


def mlflow_inputs(row: list[float]) -> Any:
    """The body of MLflow's scoring server."""
    return {"inputs": [row]}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """
    One other server.

    ``command`` and the two paths may name {model}, {port}, {other_port}, {third_port} and {home}.
    """

    name: str
    #: What pip installs, the first of which names the version.
    packages: tuple[str, ...]
    command: str
    path: str
    ready: str
    body: Body = instances
    #: Run once before the server.
    prepare: str = ""


PEERS = (
    Peer(
        name="FastAPI+gunicorn",
        packages=("fastapi", "uvicorn[standard]", "gunicorn"),
        command="gunicorn fastapi_main:app -w 2 -k uvicorn.workers.UvicornWorker "
        "-b 127.0.0.1:{port}",
        path="/predict/{model}",
        ready="/ready",
    ),
    Peer(
        name="LitServe",
        packages=("litserve",),
        command="python lit_api.py {model} {port}",
        path="/predict",
        ready="/health",
    ),
    Peer(
        name="BentoML",
        packages=("bentoml",),
        command="bentoml serve bento_service:Models --host 127.0.0.1 --port {port}",
        path="/{model}",
        ready="/readyz",
    ),
    Peer(
        name="MLServer",
        packages=("mlserver", "mlserver-sklearn", "uvloop<0.21"),
        command="mlserver start mlserver",
        path="/v2/models/{model}/infer",
        ready="/v2/health/ready",
        body=tensor,
    ),
    Peer(
        name="MLflow",
        packages=("mlflow",),
        command="mlflow models serve -m mlflow-{model} -p {port} --env-manager local -w 2",
        path="/invocations",
        ready="/ping",
        body=mlflow_inputs,
        prepare="python mlflow_save.py",
    ),
)


def measured(peer: Peer, *, seconds: int, home: Path) -> dict[str, Any]:
    """The peer's closed-loop runs over both models, one server at a time."""
    binaries = _environment(peer)
    environment = os.environ | {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "HOME": str(home),
    }
    if peer.prepare:
        subprocess.run(peer.prepare, shell=True, cwd=home, env=environment, check=True, timeout=120)
    runs: list[Closed] = []
    for name in models.NAMES:
        with _serving(peer, name, home, environment) as (url, pid):
            target = Target(name=name, url=url, body=peer.body(models.row(name)))
            with httpx.Client(timeout=30) as client:
                for _ in range(50):
                    client.post(url, json=target.body).raise_for_status()
            runs += [
                run_closed(
                    target,
                    connections=count,
                    seconds=seconds,
                    pids=partial(descendants, pid),
                    scratch=home,
                )
                for count in CONNECTIONS
            ]
    return {
        "name": peer.name,
        "version": _version(binaries, peer.packages[0]),
        "closed": [asdict(run) | {"cpu_us_all": run.cpu_us_all} for run in runs],
    }


def _environment(peer: Peer) -> Path:
    """The ``bin`` of the peer's virtual environment, made on first use."""
    place = CACHE / peer.packages[0]
    done = place / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [str(place / "bin" / "pip"), "install", "--quiet", "scikit-learn", "joblib"]
        subprocess.run([*pip, *peer.packages], check=True, timeout=900)
        done.touch()
    return place / "bin"


def _version(binaries: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run(
        [str(binaries / "python"), "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@contextmanager
def _serving(
    peer: Peer, model: str, home: Path, environment: dict[str, str]
) -> Iterator[tuple[str, int]]:
    """The URL of predictions and the pid of a running server, which is ended afterwards."""
    port, other, third = free_ports(3)
    _write_mlserver(home, port, other, third)
    base = f"http://127.0.0.1:{port}"
    with (home / f"{peer.packages[0]}.log").open("a") as log:
        process = subprocess.Popen(
            f"exec {peer.command.format(model=model, port=port)}",
            shell=True,
            cwd=home,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(lambda: _answers(base + peer.ready), what=peer.name, timeout_s=PATIENCE_S)
            yield base + peer.path.format(model=model), process.pid
        finally:
            _end(process)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server and what it started, all of which is in its own session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _write_mlserver(home: Path, port: int, other: int, third: int) -> None:
    """MLServer is told everything by files."""
    settings = {"http_port": port, "grpc_port": other, "metrics_port": third, "host": "127.0.0.1"}
    root = home / "mlserver"
    root.mkdir(exist_ok=True)
    (root / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 1}))
    for name in models.NAMES:
        (root / name).mkdir(exist_ok=True)
        described = {
            "name": name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(home / f"{name}.joblib"), "version": "v1"},
        }
        (root / name / "model-settings.json").write_text(json.dumps(described))


def main() -> None:
    """Measure each peer and print their tables beside ours of the last run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/peers.json"))
    parser.add_argument("--ours", type=Path, default=Path("docs/benchmarks/latest.json"))
    parser.add_argument("--only", nargs="*", choices=[peer.name for peer in PEERS])
    options = parser.parse_args()
    home = CACHE / "home"
    home.mkdir(parents=True, exist_ok=True)
    models.save(home)
    for source in SOURCES.iterdir():
        (home / source.name.removesuffix(".txt")).write_text(source.read_text())
    document: dict[str, Any] = {"machine": machine_facts(), "peers": []}
    for peer in PEERS:
        if not options.only or peer.name in options.only:
            print(f"{peer.name} …", file=sys.stderr, flush=True)
            began_s = time.monotonic()
            document["peers"].append(measured(peer, seconds=options.seconds, home=home))
            print(f"  {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    if options.ours.exists():
        document["platforms"] = json.loads(options.ours.read_text())["platforms"]
    print(report.side_by_side(document))


if __name__ == "__main__":
    main()
