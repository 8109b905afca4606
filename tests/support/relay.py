"""
A way to a server that can be cut, stalled, reset or slowed while it is used: a port of loopback that leads there.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed so is reset, and not ended."""


@dataclass
class Relay:
    """The way, as it is at this time."""

    port: int
    server: tuple[str, int]
    state: str = "open"
    """open, stalled (nothing passes, nothing ends), cut (what is there is ended, nothing new gets in)."""
    seconds: float = 0.0
    """Before each piece that the server sends."""
    pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    refuses: Callable[[int], bool] = lambda port: False
    """Whether whoever comes from a port of this machine is not let in."""
    most: int = 0
    """As many connections as there have been at once."""
    says: Callable[[bytes], bytes] = lambda data: data
    """What becomes of a piece that the server sends: another one of the same length, or packets would not fit."""

    def stall(self) -> None:
        self.state = "stalled"

    def cut(self) -> None:
        """End all connections, and let none in."""
        self.state = "cut"
        self._end(reset=False)

    def reset(self) -> None:
        """Reset all connections; whoever comes again gets in."""
        self._end(reset=True)

    def mend(self) -> None:
        """What was stalled is ended: nobody waits for it any more."""
        if self.state == "stalled":
            self._end(reset=False)
        self.state, self.seconds = "open", 0.0

    def _end(self, reset: bool) -> None:
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for client, upstream in pairs:
            if reset:
                with suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            for end in (client, upstream):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                with suppress(OSError):
                    end.close()


@contextmanager
def relay(host: str, port: int) -> Iterator[Relay]:
    """A relay to a server, for the length of a block."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        way = Relay(listener.getsockname()[1], (host, port))
        threading.Thread(target=_accept, args=(listener, way), daemon=True).start()
        try:
            yield way
        finally:
            way.cut()


def _accept(listener: socket.socket, way: Relay) -> None:
    with suppress(OSError):
        while True:
            client, (_, port) = listener.accept()
            if way.state == "cut" or way.refuses(port):
                client.close()
                continue
            upstream = socket.socket()
            try:
                upstream.connect(way.server)
            except OSError:
                client.close()
                upstream.close()
                continue
            pair = (client, upstream)
            with way.lock:
                way.pairs.append(pair)
                way.most = max(way.most, len(way.pairs))
            for sender, receiver, slow in ((client, upstream, False), (upstream, client, True)):
                threading.Thread(target=_pass_on, args=(way, pair, sender, receiver, slow), daemon=True).start()


def _pass_on(
    way: Relay, pair: tuple[socket.socket, socket.socket], sender: socket.socket, receiver: socket.socket, slow: bool
) -> None:
    with suppress(OSError):
        while data := sender.recv(65_536):
            while way.state == "stalled":
                time.sleep(0.02)
            if slow and way.seconds:
                time.sleep(way.seconds)
            receiver.sendall(way.says(data) if slow else data)
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    with way.lock:
        if pair in way.pairs:
            way.pairs.remove(pair)
            for end in pair:
                end.close()
