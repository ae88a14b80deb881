"""
How long a restore of a gigabyte takes: a platform of real models, backed up and brought back.

    python -m tests.benchmarks.restore DIRECTORY [--megabytes 1000]

Everything is kept in DIRECTORY; a second run uses the platform that is there.
"""

import argparse
import asyncio
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import SecretStr
from sklearn.ensemble import RandomForestRegressor
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from cluster.contracts import VetRequest
from cluster.embedded import EmbeddedPostgres
from cluster.settings import Settings
from deployments.loader import Loader
from serve_app.registry.migrate import upgrade
from serve_app.registry.models import create_model_with_version
from serve_app.registry.quotas import Quota
from serve_app.registry.records import NewVersion
from serve_app.registry.tables import User

SLIPWAY = str(Path(sys.executable).with_name("slipway"))


def main() -> None:
    """Fill, back up, restore into an empty home, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--megabytes", type=int, default=1000)
    wanted = parser.parse_args()
    home, place = wanted.directory / "home", wanted.directory / "backups"
    if not place.exists():
        _fill(home, wanted.megabytes * 10**6)
        _timed("create", home, "backup", "create", str(place), "--json")
    restored = wanted.directory / f"restored-{int(time.time())}"
    _timed("restore", restored, "backup", "restore", str(place), "--json")


def _fill(home: Path, size_bytes: int) -> None:
    server = EmbeddedPostgres(home)
    url = server.start()
    upgrade(url)
    settings = Settings(_env_file=None, slipway_home=home, database_url=SecretStr(url))
    loader = Loader(settings=settings)
    try:
        with Session(create_engine(url, poolclass=NullPool)) as session:
            owner = User(email="you@example.org", password_hash="-", role="publisher")
            session.add(owner)
            session.flush()
            written = number = 0
            for number, content in enumerate(_models()):
                _upload(session, loader, str(owner.id), f"model-{number}", content)
                written += len(content)
                if written >= size_bytes:
                    break
            session.commit()
        print(f"{number + 1} models, {written / 1e6:.0f} MB")
    finally:
        loader.close()
        server.stop()


def _models() -> Iterator[bytes]:
    """Forests of about 10 MB: one that was fitted, and others that differ in their leaves."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(20_000, 10))
    forest = RandomForestRegressor(6, random_state=0).fit(rows, rows @ np.arange(10))
    while True:
        yield pickle.dumps(forest)
        for tree in forest.estimators_:
            tree.tree_.value[:] += 1.0


def _upload(session: Session, loader: Loader, owner_id: str, name: str, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    request = VetRequest(sha256=sha256, size_bytes=len(content), allowed_formats=("pickle",))
    report = asyncio.run(loader.vet(content, request))
    new = NewVersion.from_report(report, sha256=sha256, size_bytes=len(content))
    quota = Quota(max_models=10**6, max_bytes=10**12)
    create_model_with_version(session, owner_id=owner_id, name=name, new=new, quota=quota)


def _timed(what: str, home: Path, *words: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if "SLIPWAY" not in name}
    started = time.monotonic()
    done = subprocess.run(
        [SLIPWAY, *words],
        env=inherited | {"ENV_FILE": "", "SLIPWAY_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{what}: {done.stderr}")
    document = json.loads(done.stdout)
    document.pop("rows", None)
    print(
        f"{what}: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU in all: {document}"
    )


if __name__ == "__main__":
    main()
