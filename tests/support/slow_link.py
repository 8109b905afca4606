"""
A way to a server that is slow: a proxy that lets so many bytes a second through, and counts them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Link:
    """What a slow way has loaded from the server so far."""

    port: int
    bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def link(host: str, port: int, bytes_per_second: float, latency_seconds: float) -> Iterator[Link]:
    """
    A port of loopback that leads to a server, slowly.

    Args:
        bytes_per_second: of all connections together, from the server.
        latency_seconds: before each answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shaped = Link(listener.getsockname()[1])
        arguments = (listener, (host, port), shaped, bytes_per_second, latency_seconds)
        accepting = threading.Thread(target=_accept, args=arguments)
        accepting.start()
        try:
            yield shaped
        finally:
            # What only closes it leaves whoever waits in it.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, server: tuple[str, int], shaped: Link, rate: float, latency: float) -> None:
    carriers = []
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            carriers.append(threading.Thread(target=_load, args=(client, server, shaped, rate, latency)))
            carriers[-1].start()
    for carrier in carriers:
        carrier.join()


def _load(client: socket.socket, server: tuple[str, int], shaped: Link, rate: float, latency: float) -> None:
    with client, socket.socket() as upstream:
        # Without room to hide in: what the server has sent, and nobody read yet, is a few packets.
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        upstream.connect(server)
        asking = threading.Thread(target=_pass_on, args=(client, upstream, None, rate, latency))
        asking.start()
        _pass_on(upstream, client, shaped, rate, latency)
        asking.join()


def _pass_on(sender: socket.socket, receiver: socket.socket, shaped: Link | None, rate: float, latency: float) -> None:
    with suppress(OSError):
        while data := sender.recv(16_384):
            if shaped:
                time.sleep(latency)
                with shaped.lock:
                    shaped.bytes += len(data)
                    time.sleep(len(data) / rate)
            receiver.sendall(data)
    for end in (sender, receiver):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
