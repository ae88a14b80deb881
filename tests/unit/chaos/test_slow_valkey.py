"""The relay holds bytes back as long as it is told, one piece not waiting for another."""

import asyncio
import contextlib
import time

from tests.chaos.slow_valkey import Relay


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
    writer.close()
    await writer.wait_closed()


async def _through(relay: Relay, pieces: list[bytes]) -> tuple[bytes, float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    began_s = time.monotonic()
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0)
    received = await reader.readexactly(len(b"".join(pieces)))
    took_s = time.monotonic() - began_s
    writer.close()
    await writer.wait_closed()
    return received, took_s


def test_bytes_arrive_in_order_and_late() -> None:
    async def asked() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        with contextlib.closing(Relay(server.sockets[0].getsockname()[1])) as relay:
            at_once, _ = await _through(relay, [b"one", b"two"])
            relay.delay_s = 0.1
            late, took_s = await _through(relay, [b"three", b"four", b"five"])

        assert (at_once, late) == (b"onetwo", b"threefourfive")
        assert took_s >= 0.1
        server.close()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(asked())
