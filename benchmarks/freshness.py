"""How long until a new file is in the answers: from its rename into the inbox to an HTTP answer that reflects it.

    python benchmarks/freshness.py [--times 5] [--json]

Runs a `campaigns up` of its own on the sample, in a temporary folder. Each time a customer never heard of says something
never said before, so that the model is loaded and embeds it. Results: benchmarks/results/freshness.json.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine
from local.environment import ROOT
from local.processes import free_port

RESULTS = Path(__file__).parent / "results" / "freshness.json"
WITHIN_S = 180.0
IDLE_S = 12.0
LOOK_EVERY_S = 0.05
MODEL_ALONE = """
import time; began = time.monotonic()
from platform_assets.embedder import Embedder
from stores.settings import Settings
Embedder(Settings()).embed(["Which tent is big enough?"])
print(time.monotonic() - began)
"""
ASSETS = ("raw_docs", "embeddings", "vectors", "graph", "metrics", "release")
PARTS = ("tick", "queue", "process", "first_step", "steps", "answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="how many files (default 5)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="freshness-") as folder, platform(Path(folder)) as ready:
        trials = []
        for number in range(asked.times):
            time.sleep(IDLE_S + 5 * rng.random())  # the daemon is idle, and the file comes at any moment of its round
            trials.append(measured(Path(folder), ready["api_url"], number))
            print(f"{number + 1}/{asked.times}: {trials[-1]['seconds']} s", file=sys.stderr, flush=True)
    result = {
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "median_s": statistics.median(trial["seconds"] for trial in trials),
        "median_parts_s": {part: round(statistics.median(trial["parts_s"][part] for trial in trials), 2) for part in PARTS},
        "median_steps_s": {asset: round(statistics.median(trial["assets_s"].get(asset, 0.0) for trial in trials), 2) for asset in ASSETS},
        "model_alone_s": model_alone_s(),
        "trials": trials,
    }
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2) if asked.json else told(result))


@contextmanager
def platform(folder: Path) -> Iterator[dict[str, str]]:
    """A whole `campaigns up` with the sample loaded; what it says when it is ready."""
    ports = ("--api-port", str(free_port()), "--dagster-port", str(free_port()))
    command = [sys.executable, "-c", "from cli.main import main; main()", "up", "--json", "--state", str(folder / "state"), *ports]
    own = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGNS_")}
    environment = own | {"CAMPAIGNS_INBOX_DIR": str(folder / "inbox")}
    with (folder / "up.log").open("w") as log:
        up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=ROOT)
    try:
        assert up.stdout is not None
        line = up.stdout.readline()
        if not line:
            raise SystemExit((folder / "up.log").read_text())
        yield json.loads(line)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)


def measured(folder: Path, api_url: str, number: int) -> dict:
    """One file, until the customer in it is known to an answer of a newer release."""
    user_id, inbox = f"fresh_{number}", folder / "inbox"
    with httpx.Client(base_url=api_url, timeout=10) as api:
        before = int(api.get(f"/recommendations/{user_id}").headers["X-Release"])
        (inbox / f"{user_id}.tmp").write_bytes(msgspec.json.encode(said_by(user_id)))
        (inbox / f"{user_id}.tmp").rename(inbox / f"{user_id}.jsonl")
        renamed = time.time()
        while not reflects(api, user_id, before):
            if time.time() > renamed + WITHIN_S:
                raise SystemExit(f"no answer reflects {user_id} after {WITHIN_S:g} s")
            time.sleep(LOOK_EVERY_S)
        answered = time.time()
    moments = moments_of_last_run(folder / "state" / "dagster")
    marks = [renamed, moments["enqueued"], moments["launched"], moments["started"], moments["first_step"], moments["released"], answered]
    parts = {part: round(until - since, 2) for part, (since, until) in zip(PARTS, pairwise(marks), strict=True)}
    return {"seconds": round(answered - renamed, 2), "parts_s": parts, "assets_s": moments["assets"]}


def said_by(user_id: str) -> dict[str, str]:
    now = datetime.now(UTC).isoformat()
    return {"user_id": user_id, "timestamp": now, "message": f"I was told at {now} that the big tent is back, is it?", "intent": "interest"}


def reflects(api: httpx.Client, user_id: str, before: int) -> bool:
    if int(api.get(f"/recommendations/{user_id}").headers.get("X-Release", 0)) <= before:
        return False
    return bool(api.get(f"/recommendations/{user_id}?explain=true").json()["known"])


def moments_of_last_run(home: Path) -> dict:
    """When the last run was asked for, taken from the queue, started, at its first step, and done with its release."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        run_id = instance.get_runs(limit=1)[0].run_id
        events = [(entry.timestamp, entry.dagster_event) for entry in instance.all_logs(run_id) if entry.dagster_event is not None]
    first: dict[str, float] = {}
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    for at, event in events:
        first.setdefault(event.event_type_value, at)
        if event.event_type_value == "STEP_START":
            began[event.step_key] = at
        if event.event_type_value == "STEP_SUCCESS":
            ended[event.step_key] = at
    return {
        "enqueued": first["PIPELINE_ENQUEUED"],
        "launched": first["PIPELINE_STARTING"],
        "started": first["PIPELINE_START"],
        "first_step": min(began.values()),
        "released": ended["release"],
        "assets": {step: round(ended[step] - began[step], 2) for step in ended},
    }


def model_alone_s() -> float:
    """Seconds that a process of its own takes to import the libraries, load the model and embed one text."""
    done = subprocess.run([sys.executable, "-c", MODEL_ALONE], capture_output=True, text=True, check=True, cwd=ROOT)
    return round(float(done.stdout.split()[-1]), 2)


def told(result: dict) -> str:
    lines = [f"from rename to answer: {', '.join(str(trial['seconds']) for trial in result['trials'])} s, median {result['median_s']} s"]
    lines += [f"  {part.replace('_', ' ')}: {seconds} s" for part, seconds in result["median_parts_s"].items()]
    lines += [f"    {asset}: {seconds} s" for asset, seconds in result["median_steps_s"].items()]
    return "\n".join([*lines, f"  (the model alone, in a process of its own: {result['model_alone_s']} s)"])


if __name__ == "__main__":
    main()
