"""Load from one process: connections that each ask again as soon as they were answered, over raw sockets.

No client library: one that takes as long for a request as the server would measure itself.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

HTTP_REQUEST = "GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n"


def http_requests(paths: Iterable[str], headers: str = "") -> list[bytes]:
    """GET requests; each line of `headers` ends in CRLF."""
    return [HTTP_REQUEST.format(path=path, headers=headers).encode() for path in paths]


def redis_requests(keys: Iterable[str]) -> list[bytes]:
    return [b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key.encode()) for key in keys]


def http_length(data: bytearray) -> int:
    """The length of the first answer in `data`, 0 while it is not whole. Any status but 200 and 304 ends the run."""
    if (end := data.find(b"\r\n\r\n")) < 0:
        return 0
    status, head = data[9:12], bytes(data[:end]).lower()
    if status not in (b"200", b"304"):
        raise SystemExit(bytes(data[:500]).decode())
    at = head.find(b"content-length: ")
    length = 0 if at < 0 else int(head[at + 16 : (head.find(b"\r\n", at) + 1 or end + 1) - 1])
    return end + 4 + length if len(data) >= end + 4 + length else 0


def redis_length(data: bytearray) -> int:
    """The length of the first bulk string in `data`, 0 while it is not whole."""
    if (end := data.find(b"\r\n")) < 0:
        return 0
    if (length := int(data[1:end])) < 0:
        raise SystemExit("Redis does not hold what is asked for")
    return end + 4 + length if len(data) >= end + 4 + length else 0


class Connection(asyncio.Protocol):
    """Asks the next request of `requests` whenever one was answered; keeps how long each took, in seconds."""

    def __init__(self, requests: Iterator[bytes], length: Callable[[bytearray], int], took_s: list[float]) -> None:
        self._requests, self._length, self._took_s = requests, length, took_s
        self._data = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            if length := self._length(self._data):
                del self._data[:length]
                self._took_s.append(time.perf_counter() - self._asked_s)
                self._next()
        except SystemExit as exc:
            self._transport.abort()
            self.ended.set_exception(RuntimeError(str(exc)))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        if (request := next(self._requests, None)) is None:
            self.ended.set_result(None)
            self._transport.abort()
            return
        self._asked_s = time.perf_counter()
        self._transport.write(request)


async def load(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float | None = None,
    length: Callable[[bytearray], int] = http_length,
) -> tuple[list[float], float]:
    """Asks over so many connections at once: for so many seconds round and round, else each request once. How long each took, and all."""
    took_s: list[float] = []
    loop = asyncio.get_running_loop()
    began_s = time.perf_counter()

    def asked() -> Iterator[bytes]:
        if seconds is None:
            yield from requests
            return
        at = 0
        while time.perf_counter() < began_s + seconds:
            yield requests[at]
            at = (at + 1) % len(requests)

    shared = asked()
    made = [await loop.create_connection(lambda: Connection(shared, length, took_s), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.gather(*(connection.ended for _, connection in made))
    return took_s, time.perf_counter() - began_s
