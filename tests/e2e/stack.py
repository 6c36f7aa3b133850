"""A stack that a test starts with `campaigns up`, as a person would, and ends in any way a person might."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from msgspec import Struct

from local.environment import ROOT

READY_WITHIN_S = 240
GONE_WITHIN_S = 60


class Place(Struct, frozen=True):
    """Where the stacks of this file run: one state, kept from one to the next."""

    state: Path
    inbox: Path
    api_port: int
    dagster_port: int

    def command(self, *options: str) -> list[str]:
        ports = ("--api-port", str(self.api_port), "--dagster-port", str(self.dagster_port))
        return [sys.executable, "-c", "from cli.main import main; main()", "up", "--json", "--state", str(self.state), *ports, *options]

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGNS_")}
        return own | {"CAMPAIGNS_INBOX_DIR": str(self.inbox)}


class Up:
    """One running `campaigns up`, with everything that it told when it was ready and every process under it."""

    def __init__(self, place: Place, told: Path) -> None:
        self.told_to = told
        with told.open("w") as stderr:
            self.process = subprocess.Popen(
                place.command(), stdout=subprocess.PIPE, stderr=stderr, text=True, env=place.environment, cwd=ROOT, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.told
        self.ready = json.loads(line)
        wait_for("the UI", lambda: "✓ Dagster's UI" in self.told)
        self.processes = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def told(self) -> str:
        return self.told_to.read_text()

    def end(self, number: signal.Signals) -> int:
        """Sends the signal, waits for the end and for every process under it to be gone; the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(timeout=60)
        wait_for(f"the end of {self.left()}", lambda: not self.left(), timeout_s=GONE_WITHIN_S)
        return code

    def left(self) -> list[psutil.Process]:
        return [process for process in self.processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def wait_for(what: str, true: Callable[[], object], *, timeout_s: float = READY_WITHIN_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.25)
