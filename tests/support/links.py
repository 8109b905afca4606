"""
Slow links to servers: ports of loopback, in a process of their own, of so many bytes a second and so long a way.

A link's bytes are those of all its connections, each way; what is sent arrives after the latency, and more may be under
way meanwhile, as on a real one.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHUNK = 16_384


class Way:
    """One direction of a link, that all its connections share."""

    def __init__(self, rate: float, latency: float) -> None:
        self.rate, self.latency, self.free = rate, latency, 0.0

    async def load(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._arrive(under_way, writer))
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                self.free = max(self.free, loop.time()) + len(data) / self.rate
                under_way.put_nowait((self.free + self.latency, data))
                # No more is taken from the sender than the link loads.
                if (early := self.free - loop.time()) > 0.05:
                    await asyncio.sleep(early)
        under_way.put_nowait((loop.time() + self.latency, b""))
        await arriving

    async def _arrive(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while True:
                timestamp, data = await under_way.get()
                await asyncio.sleep(max(0.0, timestamp - loop.time()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()


async def _serve(links: list[dict[str, Any]]) -> None:
    servers, ports = [], []
    for link in links:
        there, back = (Way(link["bytes_per_second"], link["latency_seconds"]) for _ in range(2))

        async def accept(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            link: dict[str, Any] = link,
            there: Way = there,
            back: Way = back,
        ) -> None:
            try:
                up_reader, up_writer = await asyncio.open_connection(link["host"], link["port"])
            except OSError:
                writer.close()
                return
            await asyncio.gather(there.load(reader, up_writer), back.load(up_reader, writer))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2 * CHUNK)
        servers.append(server)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


@contextmanager
def links(wanted: Sequence[dict[str, Any]]) -> Iterator[list[int]]:
    """
    The ports of so many links, for the length of a block.

    Args:
        wanted: of each `host`, `port`, `bytes_per_second` and `latency_seconds`, one way.
    """
    command = [sys.executable, str(Path(__file__)), json.dumps(list(wanted))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
