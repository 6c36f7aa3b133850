"""A real Milvus standalone, from the PyPI package `milvus`, kept on loopback: a test-only leg beside the engine of a laptop."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc
import httpx
import psutil
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from local.processes import free_port, spawn, wait_until

READY_WITHIN_S = 180.0
QUICKER = {  # milliseconds; a call of consistency Strong waits for the next tick, and a load for the next check
    "proxy.timeTickInterval": 40,
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 50,
}
COMPONENTS = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")


@contextmanager
def milvus_standalone() -> Iterator[str]:
    """Runs Milvus in a folder of its own (about 0.5 GB, removed at the end) and gives its URL.

    Raises:
        CannotStart: it did not start; it comes for Linux on x86-64 only.
        AssertionError: it listens on more than loopback.
    """
    with tempfile.TemporaryDirectory(prefix="milvus-") as folder:
        directory = Path(folder)
        executable, environment, port = unpack(directory)
        url, health = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{environment['METRICS_PORT']}/healthz"
        command = [sys.executable, str(Path(__file__).with_name("loopback.py")), str(executable), "run", "standalone"]
        child = spawn("milvus", command, log=directory / "milvus.log", environment=environment, directory=directory)
        try:
            wait_until(lambda: serves(url, health), child, timeout_s=READY_WITHIN_S, interval_s=0.2)
            assert_on_loopback(child.pid)
            yield url
        finally:
            child.kill()


def unpack(directory: Path) -> tuple[Path, dict[str, str], int]:
    """Unpacks the server and writes its configuration; gives the executable, its environment and the port to be."""
    import milvus  # here, so that a machine that cannot have the package fails these tests and no others

    config = milvus.MilvusServerConfig(data_dir=str(directory))
    names = [name for name in config.configurable_items if name.endswith("_port")]
    ports = dict(zip([*names, "etcd_peer", "health"], free_ports(len(names) + 2), strict=True))
    config.update(**{name: ports[name] for name in names})
    for component in COMPONENTS:
        config.set(f"{component}.ip", "127.0.0.1")  # what the components call each other by; it does not bind them
    for name, interval_ms in QUICKER.items():
        config.set(name, interval_ms)
    config.resolve()
    milvus._initialize_data_files(str(directory))
    etcd = directory / "configs" / "etcd.yaml"
    client, peer = (f"http://127.0.0.1:{port}" for port in (ports["etcd_port"], ports["etcd_peer"]))
    etcd.write_text(
        f"listen-client-urls: {client}\nadvertise-client-urls: {client}\nlisten-peer-urls: {peer}\n"
        f"initial-advertise-peer-urls: {peer}\ninitial-cluster: default={peer}\n"
    )
    environment = os.environ | {
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_CONFIG_PATH": str(etcd),
        "METRICS_PORT": str(ports["health"]),
        "MILVUS_RUN_DIR": str(directory / "run"),
        "LD_LIBRARY_PATH": str(directory / "bin"),
    }
    return directory / "bin" / "milvus", environment, ports["proxy_port"]


def free_ports(count: int) -> set[int]:
    """So many different free ports: Milvus goes to another one without a word where one is taken."""
    ports: set[int] = set()
    while len(ports) < count:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := free_port()))
            ports.add(port)
    return ports


def serves(url: str, health: str) -> bool:
    """Whether Milvus says that it is well, and answers at its own port."""
    try:
        if "OK" not in httpx.get(health, timeout=2).text:
            return False
        with closing(MilvusClient(url, timeout=2, dedicated=True)) as client:
            client.list_collections(timeout=2)
    except (httpx.HTTPError, MilvusException, grpc.RpcError):
        return False
    return True


def assert_on_loopback(pid: int) -> None:
    """Fails where any socket of the process or its children can be reached from another machine."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = [connection.laddr for process in family for connection in process.net_connections("inet") if connection.status == "LISTEN"]
    assert listening
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
