"""A Valkey of its own behind a relay that can hold every byte back for a while."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from cluster.embedded_valkey import EmbeddedValkey

DELAY_S = 0.5


class Relay:
    """Passes connections on to a port; what is sent there arrives ``delay_s`` later, in order."""

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self.delay_s = 0.0
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._loop, self._ended, self.port = self._started.result()

    def close(self) -> None:
        """End it with all its connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        ended = asyncio.Event()
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self._started.set_result((asyncio.get_running_loop(), ended, port))
        await ended.wait()
        server.close()
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        try:
            with suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(
                    self._hold(reader, pieces), _deliver(pieces, back), _pass(there, writer)
                )
        finally:
            for each in (writer, back):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def _hold(
        self, reader: asyncio.StreamReader, pieces: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        """Latency alone: no piece waits for the delay of the one before."""
        loop = asyncio.get_running_loop()
        try:
            while piece := await reader.read(65536):
                pieces.put_nowait((loop.time() + self.delay_s, piece))
        finally:
            pieces.put_nowait((0.0, b""))


async def _deliver(
    pieces: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s, piece = await pieces.get()
        if not piece:
            break
        await asyncio.sleep(due_s - loop.time())
        writer.write(piece)
        await writer.drain()
    writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()


@contextmanager
def slow_valkey(home: Path) -> Iterator[tuple[Relay, str]]:
    """The relay, and the REDIS_URL through it; the server's files are in ``home``."""
    server = EmbeddedValkey(home)
    url = urlsplit(server.start())
    assert url.port is not None
    relay = Relay(url.port)
    try:
        yield relay, url._replace(netloc=f":{url.password}@127.0.0.1:{relay.port}").geturl()
    finally:
        relay.close()
        server.stop()
