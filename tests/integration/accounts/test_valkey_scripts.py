"""A Valkey that is up is never taken for one that is away, and one that is back is found."""

import asyncio
import select
import socket
import uuid
from typing import Any

import pytest
from redis.asyncio import Connection

from serve_app.security import valkey_scripts
from serve_app.security.lockout import Lockout
from serve_app.security.shared_state import SharedStateAway
from serve_app.security.valkey_scripts import ValkeyScripts

pytestmark = pytest.mark.anyio
#: Tens of milliseconds of work, so that the answer is still to come when the caller waits.
SLOW = "local n = 0 for _ = 1, 2000000 do n = n + 1 end return {n}"


class Stall:
    """Lets this process's event loop stand still, as a machine with other things to do would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = asyncio.Event()
        self._socket: socket.socket | None = None
        self._lost_s = 0.0
        loop = asyncio.get_running_loop()
        clock, send = loop.time, Connection.send_packed_command

        async def noted(connection: Any, *arguments: Any, **options: Any) -> None:
            await send(connection, *arguments, **options)
            self._socket = connection._writer.get_extra_info("socket")
            self.sent.set()

        monkeypatch.setattr(loop, "time", lambda: clock() + self._lost_s)
        monkeypatch.setattr(Connection, "send_packed_command", noted)

    def until_answered(self) -> None:
        """Let nothing run until the answer to what was sent lies in the socket."""
        assert self._socket is not None
        assert select.select([self._socket], [], [], 30)[0]

    def lose(self, seconds: float) -> None:
        """Every timer that would have come in that time is due at once."""
        self._lost_s += seconds


def new_prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}:"


async def test_a_process_that_stood_still_reads_the_answer(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = ValkeyScripts.from_url(valkey_url)
    # So that the digest is known, and what is sent next is the call itself.
    await scripts.run(SLOW, [], [])
    stall = Stall(monkeypatch)

    call = asyncio.create_task(scripts.run(SLOW, [], []))
    await stall.sent.wait()
    stall.until_answered()
    stall.lose(valkey_scripts.TIMEOUT_S)

    assert await call == [2_000_000]
    assert not scripts.is_away
    await scripts.close()


async def test_failed_logins_of_a_busy_process_are_counted_by_all(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = ValkeyScripts.from_url(valkey_url)
    door = Lockout(scripts, limit=100, prefix=new_prefix())
    stall = Stall(monkeypatch)

    attempts = []
    # The process stands still before it asks, once it has asked, and while the answer comes.
    for number in range(3):
        stall.sent.clear()
        attempt = asyncio.create_task(door.attempt("10.0.0.1", f"user{number}@example.org"))
        if number > 0:
            await stall.sent.wait()
        if number > 1:
            stall.until_answered()
        stall.lose(valkey_scripts.TIMEOUT_S)
        attempts.append(await attempt)

    assert [attempt.is_local for attempt in attempts] == [False] * 3
    await scripts.close()


async def test_a_connection_that_the_server_closed_is_made_again(valkey_url: str) -> None:
    scripts, operator = [ValkeyScripts.from_url(valkey_url) for _ in range(2)]
    door = Lockout(scripts, limit=100, prefix=new_prefix())
    await door.attempt("10.0.0.1", "ada@example.org")

    client: Any = operator._client
    await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    attempt = await door.attempt("10.0.0.1", "ada@example.org")

    assert not attempt.is_local
    await asyncio.gather(scripts.close(), operator.close())


async def test_a_server_that_is_back_is_found_without_anybody_asking(valkey_url: str) -> None:
    pause, paused = asyncio.Event(), asyncio.Event()

    async def sleep(_seconds: float) -> None:
        paused.set()
        await pause.wait()

    scripts = ValkeyScripts(ValkeyScripts.from_url(valkey_url)._client, sleep=sleep)
    scripts._fail(OSError("gone"))
    probe = scripts._probe
    await paused.wait()
    with pytest.raises(SharedStateAway):
        await scripts.run("return {1}", [], [])

    pause.set()
    assert probe is not None
    await probe

    assert await scripts.run("return {7}", [], []) == [7]
    await scripts.close()


async def test_a_server_that_never_answers_is_away_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(valkey_scripts, "TIMEOUT_S", 0.05)
    # The kernel takes the connection and the question; nobody reads them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scripts = ValkeyScripts.from_url(f"redis://127.0.0.1:{silent.getsockname()[1]}")

        with pytest.raises(SharedStateAway):
            await asyncio.wait_for(scripts.run("return {1}", [], []), 10)

    assert scripts.is_away
    await scripts.close()
