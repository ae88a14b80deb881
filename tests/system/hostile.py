"""
Clients that mean harm, many at a time, each from an address of its own.

``python -m tests.system.hostile ATTACK PORT CERTIFICATE --count 100 --seconds 20`` attacks the edge
on that port and prints how its connections ended, as JSON: a status, ``closed`` without an answer,
or ``held`` where the edge still waited when the attack was over.
"""

import argparse
import asyncio
import json
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from tests.integration.edge.nginx import HOST
from tests.integration.edge.smuggling import LAST, VARIANTS

HEAD = f"POST /api/v1/predict HTTP/1.1\r\nHost: {HOST}\r\n".encode()
GET = f"GET /openapi.json HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
DRIP_S = 0.5
#: Between the end of one connection and the next of the same client.
PAUSE_S = 0.1
CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
FLOOD = b"X-A: " + b"y" * 1000 + b"\r\n"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One connection to the edge."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    #: When the attack is over; of the loop's clock.
    until: float

    async def press(self, again: bytes, *, period_s: float = DRIP_S) -> str:
        """Send ``again`` every ``period_s`` until the edge answers, closes, or time is over."""
        while (left_s := self.until - time.monotonic()) > 0:
            answered = asyncio.create_task(self.reader.read(65536))
            done, _ = await asyncio.wait({answered}, timeout=min(period_s, left_s))
            if done:
                return _ending(answered.result())
            answered.cancel()
            self.writer.write(again)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(DRIP_S, period_s)):
                    await self.writer.drain()
        return "held"


Attack = Callable[[Attempt], Awaitable[str]]


async def idle(attempt: Attempt) -> str:
    """Say nothing, not even the beginning of TLS."""
    return await attempt.press(b"")


async def slow_headers(attempt: Attempt) -> str:
    """Headers that never end, one now and then."""
    attempt.writer.write(HEAD)
    return await attempt.press(b"X-A: b\r\n")


async def slow_bodies(attempt: Attempt) -> str:
    """A body that comes by the byte."""
    attempt.writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
    return await attempt.press(b"x")


async def slow_reads(attempt: Attempt) -> str:
    """Ask for large answers and read none."""
    transport: Any = attempt.writer.transport
    # More than the kernel keeps for who does not read.
    attempt.writer.write(GET * 200)
    transport.pause_reading()
    while time.monotonic() < attempt.until:
        await asyncio.sleep(DRIP_S)
        attempt.writer.write(GET)
        await attempt.writer.drain()
    return "held"


async def short_bodies(attempt: Attempt) -> str:
    """Say more than is sent."""
    attempt.writer.write(HEAD + b"Content-Length: 100000\r\n\r\nhalf of it")
    return await attempt.press(b"")


async def large_lengths(attempt: Attempt) -> str:
    """Say more than is allowed."""
    attempt.writer.write(HEAD + b"Content-Length: 99999999999\r\n\r\n")
    return await attempt.press(b"")


async def endless_chunks(attempt: Attempt) -> str:
    """A body that never ends, as fast as it is taken."""
    attempt.writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    return await attempt.press(CHUNK, period_s=0.002)


async def header_floods(attempt: Attempt) -> str:
    """Headers that never end, as fast as they are taken."""
    attempt.writer.write(HEAD)
    return await attempt.press(FLOOD, period_s=0.002)


def numbered(number: int, variant: str) -> bytes:
    """A variant under paths of its own, as long as before, for its lengths to hold."""
    named = variant.replace("/first", f"/fst{number:02d}").replace(
        "/smuggled", f"/smugl-{number:02d}"
    )
    return (named + LAST).encode("latin-1")


_variants = cycle([numbered(*each) for each in enumerate(VARIANTS.values())])


async def smuggling(attempt: Attempt) -> str:
    """Requests within requests."""
    attempt.writer.write(next(_variants))
    return await attempt.press(b"", period_s=5)


#: Each with as many clients as it takes to hurt.
ATTACKS: dict[str, tuple[Attack, int]] = {
    "idle": (idle, 1000),
    "slow_headers": (slow_headers, 200),
    "slow_bodies": (slow_bodies, 200),
    "slow_reads": (slow_reads, 50),
    "short_bodies": (short_bodies, 200),
    "large_lengths": (large_lengths, 20),
    "endless_chunks": (endless_chunks, 8),
    "header_floods": (header_floods, 8),
    "smuggling": (smuggling, 8),
}


@dataclass
class Endings:
    """How an attack's connections ended."""

    counts: Counter[str] = field(default_factory=Counter)
    #: The longest that the edge bore with one that it then ended.
    slowest_s: float = 0.0

    def add(self, ending: str, *, after_s: float) -> None:
        """Count one connection."""
        self.counts[ending] += 1
        if ending != "held":
            self.slowest_s = max(self.slowest_s, after_s)


async def run(name: str, port: int, certificate: str, *, count: int, seconds: float) -> Endings:
    """``count`` clients for so long; each comes again when it was refused."""
    attack, _ = ATTACKS[name]
    context = None if attack is idle else ssl.create_default_context(cafile=certificate)
    until, endings = time.monotonic() + seconds, Endings()

    async def client(number: int) -> None:
        while time.monotonic() < until:
            began_s = time.monotonic()
            ending = await _attempt(attack, port, context, number, until)
            endings.add(ending, after_s=time.monotonic() - began_s)
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(client(number) for number in range(count)))
    return endings


async def _attempt(
    attack: Attack, port: int, context: ssl.SSLContext | None, number: int, until: float
) -> str:
    writer = None
    try:
        reader, writer = await asyncio.open_connection(
            sock=await _connected(port, f"127.0.{1 + number // 250}.{1 + number % 250}"),
            ssl=context,
            server_hostname=HOST if context else None,
        )
        return await attack(Attempt(reader=reader, writer=writer, until=until))
    except OSError:
        return "closed"
    finally:
        if writer is not None:
            writer.transport.abort()


async def _connected(port: int, address: str) -> socket.socket:
    connection = socket.socket()
    try:
        # Who reads nothing shall not have much taken off the server's hands by the kernel.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.bind((address, 0))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except OSError:
        connection.close()
        raise
    return connection


def _ending(received: bytes) -> str:
    if not received.startswith(b"HTTP/1."):
        return "closed"
    return received.split(b" ", 2)[1].decode("ascii", "replace")


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", choices=list(ATTACKS))
    parser.add_argument("port", type=int)
    parser.add_argument("certificate")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    count = options.count or ATTACKS[options.attack][1]
    endings = asyncio.run(
        run(options.attack, options.port, options.certificate, count=count, seconds=options.seconds)
    )
    found = {"count": count, "endings": endings.counts, "slowest_s": round(endings.slowest_s, 1)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
