"""The refresh job in a process of its own, which may be killed at any moment.

The processes are forked from one that has imported everything, so that a kill costs a second and not ten.
"""

import multiprocessing
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from msgspec import Struct

SPAWNING = multiprocessing.get_context("spawn")
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["tests.faults.preloaded"])
STARTS_WITHIN_S = 120.0
ENDS_WITHIN_S = 600.0


class Step(Struct, frozen=True):
    """A step of the run (an asset or a check) began or ended, at a moment of the monotonic clock."""

    name: str
    kind: str
    at_s: float


class Outcome(Struct, frozen=True, kw_only=True):
    """How a refresh ended. `inside` is the step that was open when it was killed, `after_s` how long that had run."""

    succeeded: bool
    killed: bool = False
    inside: str | None = None
    after_s: float = 0.0
    failures: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    changed: dict[str, int] = {}
    run_s: float = 0.0
    peak_rss_mb: float = 0.0


class RefreshProcess:
    """One running refresh with the settings of these CAMPAIGNS_* variables."""

    def __init__(self, environment: Mapping[str, str], scratch: Path, *, context: SpawnContext | ForkServerContext = FORKING) -> None:
        self._steps: list[Step] = []
        self._failures: list[str] = []
        self._changed: dict[str, int] = {}
        self._run_s = self._peak_rss_mb = 0.0
        self._said, told = context.Pipe(duplex=False)
        self._process = context.Process(target=run, args=(dict(environment), str(scratch), told), daemon=True)
        self._process.start()
        told.close()

    def reached(self, asset: str) -> bool:
        """Waits until the asset's step has begun; False where the run ended without it."""
        while self._listen(STARTS_WITHIN_S):
            if self._steps and (self._steps[-1].name, self._steps[-1].kind) == (asset, "began"):
                return True
        return False

    def kill(self) -> None:
        """SIGKILL, now."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGKILL)

    def ended(self) -> Outcome:
        """Waits for the end."""
        while self._listen(ENDS_WITHIN_S):
            pass
        self._process.join(ENDS_WITHIN_S)
        ended_at_s, code = time.monotonic(), self._process.exitcode
        began = {step.name: step.at_s for step in self._steps if step.kind == "began"}
        over = {step.name: step.at_s for step in self._steps if step.kind == "ended"}
        inside = next((name for name in reversed(began) if name not in over), None)
        killed = code == -signal.SIGKILL
        return Outcome(
            succeeded=code == 0,
            killed=killed,
            inside=inside if killed else None,
            after_s=ended_at_s - began[inside] if killed and inside else 0.0,
            failures=tuple(self._failures),
            seconds={name: over[name] - began[name] for name in over if name in began},
            changed=self._changed,
            run_s=self._run_s,
            peak_rss_mb=self._peak_rss_mb,
        )

    def _listen(self, timeout_s: float) -> bool:
        """Takes one thing that the process says; False at its end."""
        try:
            if not self._said.poll(timeout_s):
                self.kill()
                raise TimeoutError(f"the refresh said nothing for {timeout_s:g} s")
            match self._said.recv():
                case Step() as step:
                    self._steps.append(step)
                case ("failed", str(why)):
                    self._failures.append(why)
                case ("changed", str(asset), int(count)):
                    self._changed[asset] = count
                case ("took", float(seconds), float(megabytes)):
                    self._run_s, self._peak_rss_mb = seconds, megabytes
        except (EOFError, OSError):
            return False
        return True


def run(environment: dict[str, str], scratch: str, told: Connection) -> None:
    """The refresh job from begin to end, in this process; exits with 1 where it failed."""
    os.environ.update(environment)
    tempfile.tempdir = scratch  # a killed process leaves Dagster's files behind
    with open(Path(scratch) / "refresh.log", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)

    import dagster as dg

    from platform_assets.definitions import defs

    def tell(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            return
        match event.event_type_value:
            case "STEP_START" | "STEP_RESTARTED":
                told.send(Step(event.step_key, "began", time.monotonic()))
            case "STEP_SUCCESS" | "STEP_FAILURE":
                told.send(Step(event.step_key, "ended", time.monotonic()))
            case "ASSET_MATERIALIZATION":
                said = event.step_materialization_data.materialization.metadata
                changed = [said[name].value for name in ("upserted", "deleted", "read") if name in said]
                told.send(("changed", event.step_key, sum(changed)))
        if event.event_type_value in {"STEP_FAILURE", "STEP_UP_FOR_RETRY"}:
            error = event.event_specific_data.error
            told.send(("failed", f"{event.step_key}: {' <- '.join(_messages(error))}"))

    run_id, began_s = str(uuid.uuid4()), time.monotonic()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_event_listener(run_id, tell)
        result = defs.resolve_job_def("refresh").execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed:
            told.send(("failed", f"check {evaluation.check_name}: {dict(evaluation.metadata)}"))
    told.send(("took", time.monotonic() - began_s, peak_rss_mb()))
    told.close()
    os._exit(0 if result.success else 1)


def peak_rss_mb() -> float:
    """The most memory that this process ever held; what the kernel's `getrusage` says would have the parent's peak in it."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)


def _messages(error) -> list[str]:  # type: ignore[no-untyped-def]  # Dagster's SerializableErrorInfo
    """What an error and its causes say, the first line of each."""
    said = []
    while error is not None:
        said.append(next(iter(error.message.strip().splitlines()), "")[:300])
        error = error.cause
    return said
