"""A database of the module's own, accounts to act as, and vetted files to store."""

import asyncio
import hashlib
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

import pytest
from sqlalchemy import Engine, delete, event, make_url

from cluster.contracts import Feature, OutputSpec, Signature
from deployments.signatures.storage import signature_to_json
from serve_app.registry.connections import PoolLimits
from serve_app.registry.database import Database
from serve_app.registry.models import create_model_with_version
from serve_app.registry.quotas import Quota
from serve_app.registry.records import NewVersion, UploadRecord
from serve_app.registry.tables import Change, Follower, User
from serve_app.security.principals import Principal

PLENTY = Quota(max_models=1000, max_bytes=10**9)
_numbers = itertools.count(1)


class MakeUser(Protocol):
    """Makes an account and answers as whom it acts."""

    async def __call__(self, *, role: str = "publisher") -> Principal: ...


class MakeModel(Protocol):
    """Makes a model with its first version."""

    async def __call__(
        self, owner: Principal, name: str = "iris", *, content: bytes = b"one"
    ) -> UploadRecord: ...


CountStatements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The module's database."""
    database = Database.from_url(database_url, PoolLimits(size=10, overflow=2))
    yield database
    await database.close()


@pytest.fixture
async def no_other_follower(database: Database) -> None:
    """Followers of earlier tests, which would be waited for, are gone, and what they followed."""
    await database.write(lambda session: session.execute(delete(Follower)))
    await database.write(lambda session: session.execute(delete(Change)))


@pytest.fixture
def make_user(database: Database) -> MakeUser:
    """Accounts, each new."""

    async def make(*, role: str = "publisher") -> Principal:
        row = User(email=f"user{next(_numbers)}@example.com", password_hash="-", role=role)
        await database.write(lambda session: session.add(row))
        return Principal(user_id=str(row.id), email=row.email, role=role)

    return make


@pytest.fixture
def vetted() -> Callable[[bytes], NewVersion]:
    """A vetted file with these bytes."""
    return new_version


@pytest.fixture
def plenty() -> Quota:
    """A quota nobody meets."""
    return PLENTY


@pytest.fixture
def make_model(database: Database) -> MakeModel:
    """Models of version 1."""

    async def make(
        owner: Principal, name: str = "iris", *, content: bytes = b"one"
    ) -> UploadRecord:
        written = await database.write(
            lambda session: create_model_with_version(
                session,
                owner_id=owner.user_id,
                name=name,
                new=new_version(content),
                quota=PLENTY,
            )
        )
        return written.value

    return make


def new_version(content: bytes) -> NewVersion:
    """What vetting would say of a regressor in these bytes."""
    signature = Signature(
        kind="table",
        container="matrix",
        features=(Feature(name="x0", type="number", nullable=False),),
        methods=("predict",),
        outputs={"predict": OutputSpec(type="FP64", shape=(-1,))},
        classes=None,
        sklearn_version="1.9.1",
    )
    return NewVersion(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        format="skops",
        signature=signature_to_json(signature),
        report={
            "engines": {"predict": "linear"},
            "cost_per_row_s": {"predict": 1e-5},
            "warnings": ["mind the gap"],
        },
    )


@pytest.fixture
def counted_statements() -> CountStatements:
    """A context manager that counts the statements any engine sends meanwhile."""

    @contextmanager
    def count() -> Iterator[list[str]]:
        statements: list[str] = []

        def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
            statements.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield statements
        finally:
            event.remove(Engine, "before_cursor_execute", note)

    return count


class Line:
    """A wire to PostgreSQL that can be cut, or made to swallow everything.

    On threads and blocking sockets: an event loop that ends drops a connection which it has just
    accepted, unclosed.
    """

    def __init__(self, database_url: str) -> None:
        target = make_url(database_url)
        self.accepted = 0
        self.is_cut = False
        self.is_stuck = False
        self._far_address = (target.host, target.port)
        self._sockets: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        near = target.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.url = near.render_as_string(hide_password=False)
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        self.is_cut = True
        for end in list(self._sockets):
            _hang_up(end)

    def mend(self) -> None:
        """Carry again."""
        self.is_cut = self.is_stuck = False

    def close(self) -> None:
        """End every thread and close every socket."""
        _hang_up(self._listener)
        self._accepting.join()
        self.cut()
        for carrier in self._carriers:
            carrier.join()
        for end in (self._listener, *self._sockets):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was shut
            while True:
                near, _ = self._listener.accept()
                self.accepted += 1
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(self._far_address)
                self._sockets += (near, far)
                for source, sink in ((near, far), (far, near)):
                    self._carriers.append(threading.Thread(target=self._carry, args=(source, sink)))
                    self._carriers[-1].start()
                if self.is_cut:  # while the far side was being opened
                    self.cut()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.is_stuck:
                    sink.sendall(data)
        _hang_up(sink)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # hung up already
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    """A wire to the module's database."""
    line = Line(database_url)
    yield line
    line.close()


async def until(is_so: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait for a condition that another task brings about."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - the condition is not ours to signal
            await asyncio.sleep(0.005)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for a condition."""
    return until
