"""A started server among clients that mean no good, or know no better: it goes on answering the others."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from local.processes import free_port
from retrieval.keys import drawn, entry_of

KEY = drawn()
CONNECTIONS = 1000
SILENT_STORE_S = 1.2


@contextmanager
def silent_store() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said: a store that hangs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The API on a port of its own, with a key, and with stores that hang or are not there."""
    with silent_store() as hanging, started(tmp_path_factory.mktemp("api"), hanging) as running:
        yield running


@contextmanager
def started(folder: Path, hanging: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    (folder / "no.env").touch()
    own = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGNS_")}
    settings = {
        "CAMPAIGNS_ENV_FILE": str(folder / "no.env"),
        "CAMPAIGNS_MONGO_URL": f"mongodb://127.0.0.1:{hanging}",
        "CAMPAIGNS_NEO4J_URL": f"bolt://127.0.0.1:{hanging}",
        "CAMPAIGNS_MILVUS_URL": "http://127.0.0.1:9",
        "CAMPAIGNS_REDIS_URL": "redis://127.0.0.1:9/0",
        "CAMPAIGNS_SQL_URL": f"sqlite:///{folder / 'm.sqlite3'}",
        "CAMPAIGNS_API_KEYS": entry_of(KEY, name="shop", scope="read"),
        "CAMPAIGNS_READ_TIMEOUT_S": str(SILENT_STORE_S),
        "CAMPAIGNS_LOG_FORMAT": "json",
    }
    with (folder / "api.log").open("wb") as log:
        command = [sys.executable, "-m", "retrieval", "--port", str(port)]
        process = subprocess.Popen(command, env=own | settings, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=10)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield port, process
    finally:
        process.terminate()  # not killed: its worker would go on
        process.wait()


def lives(port: int) -> bool:
    """Whether the server answers somebody else, soon."""
    return httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5).json() == {"status": "alive"}


def said_to(port: int, data: bytes, *, wait_s: float = 3.0) -> bytes:
    """What the server says to these bytes, until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        connection.sendall(data)
        connection.settimeout(wait_s)
        try:
            return connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            return b""


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS to a port that speaks none
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /recommendations/u HTTP/1.1\r\nHost: x\r\nBad Header\x00: y\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 40,
    ],
)
def test_it_survives_what_is_not_http(api: tuple[int, subprocess.Popen[bytes]], data: bytes) -> None:
    port, process = api
    answer = said_to(port, data)
    assert answer == b"" or answer.split(b" ", 2)[1].startswith(b"4"), answer[:200]
    assert lives(port)
    assert process.poll() is None


def test_a_header_of_ten_thousand_bytes_is_read_and_told_to_nobody(api: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, _ = api
    headers = {"X-Padding": "p" * 10_000, "X-Request-Id": "i" * 10_000, "X-API-Key": "k" * 10_000}
    answer = httpx.get(f"http://127.0.0.1:{port}/recommendations/u_001", headers=headers, timeout=5)
    assert answer.status_code == 401
    assert len(answer.headers["X-Request-Id"]) < 65
    assert lives(port)


def test_a_thousand_connections_that_say_nothing_keep_nobody_out(api: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, _ = api
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * CONNECTIONS)), hard))
    with ExitStack() as open_ones:
        for _ in range(CONNECTIONS):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        began_s = time.monotonic()
        assert lives(port)
        assert time.monotonic() - began_s < 2
    assert lives(port)


def test_clients_that_dawdle_keep_nobody_waiting(api: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, _ = api
    with ExitStack() as open_ones:
        slow = [open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(50)]
        for byte in b"GET /hea":
            for connection in slow:
                connection.sendall(bytes([byte]))
            began_s = time.monotonic()
            assert lives(port)
            assert time.monotonic() - began_s < 2


def test_a_store_that_hangs_holds_no_answer_longer_than_it_may(api: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, _ = api
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, timeout=10) as client:
        for _ in range(3):
            began_s = time.monotonic()
            answer = client.get("/recommendations/u_001")
            assert time.monotonic() - began_s < 2
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0


def test_a_stop_finishes_what_is_in_flight(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with silent_store() as hanging, started(tmp_path, hanging) as (port, process):
        asking = threading.Thread(target=lambda: answers.append(httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=10)))
        began_s = time.monotonic()
        asking.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        asking.join()
        took_s = time.monotonic() - began_s
        assert process.wait(timeout=15) == 0
    assert took_s > SILENT_STORE_S * 0.9  # it was still waiting for a store when it was told to stop
    assert (answers[0].status_code, answers[0].json()["status"]) == (503, "unavailable")


def test_the_log_is_json_and_names_no_customer(api: tuple[int, subprocess.Popen[bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    port, _ = api
    httpx.get(f"http://127.0.0.1:{port}/recommendations/u_secret?limit=0", headers={"X-API-Key": KEY, "X-Request-Id": "r.1"}, timeout=10)
    httpx.get(f"http://127.0.0.1:{port}/somewhere/u_secret", headers={"X-API-Key": KEY}, timeout=10)
    [log] = tmp_path_factory.getbasetemp().glob("api[0-9]*/api.log")
    until_s = time.monotonic() + 5
    while b"r.1" not in log.read_bytes() and time.monotonic() < until_s:
        time.sleep(0.05)
    text = log.read_text()
    assert '"request_id":"r.1"' in text
    assert '"route":"/recommendations/{user_id}","status":400' in text
    assert "u_secret" not in text
    assert KEY not in text
