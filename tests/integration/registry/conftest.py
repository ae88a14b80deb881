"""A database of the module's own, accounts to act as, and vetted files to store."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
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


@dataclass(kw_only=True)
class Line:
    """A wire to PostgreSQL that can be cut, or made to swallow everything."""

    url: str
    accepted: int = 0
    is_cut: bool = False
    is_stuck: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: set["asyncio.Task[None] | None"] = field(default_factory=set)

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        self.is_cut = True
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    def mend(self) -> None:
        """Carry again."""
        self.is_cut = self.is_stuck = False


@pytest.fixture
async def line(database_url: str) -> AsyncIterator[Line]:
    """A wire to the module's database."""
    target = make_url(database_url)
    line = Line(url="")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if line.is_stuck:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line.accepted += 1
        line.tasks.add(asyncio.current_task())
        line.writers.append(writer)
        if line.is_cut:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            return
        far_reader, far_writer = await asyncio.open_connection(target.host, target.port)
        line.writers.append(far_writer)
        if line.is_cut:  # while the far side was being opened
            line.cut()
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line.url = target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    yield line
    line.cut()
    server.close()
    await asyncio.gather(*(task for task in line.tasks if task is not None))


async def until(is_so: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait for a condition that another task brings about."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - the condition is not ours to signal
            await asyncio.sleep(0.005)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for a condition."""
    return until
