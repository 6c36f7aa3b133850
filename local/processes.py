"""Child processes of one machine's stack: spawned so that none outlives its parent, watched, and stopped in time."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

# Below the kernel's ephemeral range: a client that redials a dead server's port can never be given that port as its own.
PORTS = range(20_000, 32_000)
PROMISED: set[int] = set()
"""Ports on which something of this process will listen, though nothing may do so yet."""
LOG_BYTES = 10_000_000
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CannotStart(Exception):
    """Something of the local stack cannot be started, or has died; the message is what a person reads, first line first."""


class PortTaken(CannotStart):
    """A port that was asked for is in use."""


class Child:
    """One started process, the leader of its own process group, with its output in `log`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the process ended (minus the signal's number where a signal ended it); None while it runs."""
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process alone; nothing happens where it has ended."""
        if self.running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for the whole process group, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """SIGTERM, then SIGKILL after `timeout_s`; whatever is left of the group goes too. Stopping twice changes nothing."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        self.kill()

    def log_tail(self, *, lines: int = 10) -> str:
        """The last lines of the log, for the message that says why it died."""
        return log_tail(self.log, lines=lines)


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    parent_died: signal.Signals = signal.SIGKILL,
) -> Child:
    """Starts `command` with its output appended to `log`.

    When this process dies, however it dies, the kernel sends the child `parent_died`: SIGKILL for a single process,
    SIGTERM for one that has children of its own to stop. The kernel ties that to the thread that forks, hence the main one.

    Raises:
        CannotStart: the program is not there or may not be run.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are spawned from the main thread, or they would die with the thread that did it")
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(parent_died))
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    log.parent.mkdir(parents=True, exist_ok=True)
    keep_one_old(log)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor alone, which stops them in order
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the parent forks before it starts threads of its own
            )
        except OSError as exc:
            raise CannotStart(f"{name}: {command[0]} cannot be run: {exc.strerror}") from exc
    return Child(name, process, log)


def wait_until(ready: Callable[[], bool], *watched: Child, timeout_s: float, interval_s: float = 0.05) -> float:
    """Waits until `ready` says so and returns the seconds it took. The first of `watched` is the one that is waited for.

    Raises:
        CannotStart: one of `watched` ended, or `timeout_s` passed first; the message ends with the tail of its log.
    """
    started = time.monotonic()
    while not ready():
        check_running(watched)
        if time.monotonic() - started > timeout_s:
            late = watched[0]
            raise CannotStart(f"{late.name} was not ready within {timeout_s:g} s; the end of {late.log}:\n{late.log_tail()}")
        time.sleep(interval_s)
    return time.monotonic() - started


def check_running(children: Iterable[Child]) -> None:
    """Nothing where all children run; one that has ended is said with its code and the tail of its log.

    Raises:
        CannotStart: a child has ended.
    """
    for child in children:
        if not child.running:
            raise CannotStart(f"{child.name} ended with code {child.exit_code}; the end of {child.log}:\n{child.log_tail()}")


def port_is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now; connections that are only fading away do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(among: range = PORTS) -> int:
    """A free loopback port that is promised to nothing else of this process, drawn at random.

    At random, so that two stacks that start at once hardly ever draw the same.
    """
    for port in random.sample(among, 200):
        if port not in PROMISED and port_is_free(port):
            PROMISED.add(port)
            return port
    raise CannotStart(f"no free port was found between {among.start} and {among.stop}")


def log_tail(log: Path, *, lines: int = 10) -> str:
    """The last lines of a log file; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def keep_one_old(log: Path) -> None:
    """Sets a log that has grown large aside as `<name>.1`, over the one before, so that logs stay bounded over many starts."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def stands_still(pid: int) -> bool:
    """Whether every thread of a process was stopped by a signal, as the kernel says: it delivers one thread after the other."""
    try:
        states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread ended meanwhile, so not all stood still
        return False
    return all(state == "T" for state in states)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP leaves the block by KeyboardInterrupt; further ones are ignored while it is left."""

    def stop(_: int, __: FrameType | None) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
