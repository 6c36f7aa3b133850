"""Everything that `campaigns up` runs on one machine: engines, API, Dagster and the sample; started, watched and stopped."""

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from signal import SIGTERM

import httpx
from msgspec import Struct

from local.dagster_runs import LOCATION, DagsterRuns, Finished
from local.engines import RunningEngines, kept_password, running_engines
from local.environment import ENV_FILE, ROOT, asked_for, platform_variables, settings_of, write_env_file
from local.processes import (
    PROMISED,
    CannotStart,
    Child,
    PortTaken,
    check_running,
    free_port,
    port_is_free,
    spawn,
    stopped_by_signals,
    wait_until,
)
from local.programs import SCRIPTS
from local.steps import Steps
from local.telling import SHOWN_PATH, Ready, tell_event, tell_ready
from retrieval.keys import key_header
from stores.documents import Documents
from stores.errors import StoreError
from stores.intake import deliver, file_digest
from stores.settings import DEFAULT_ENV_FILE, ENV_FILE_VARIABLE

SAMPLE = (ROOT / "data" / "campaigns.json", ROOT / "data" / "sample_conversations.json")
READY_WITHIN_S = 180.0
RELEASE_WITHIN_S = 30.0
REQUEST_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.5


class Wanted(Struct, frozen=True, kw_only=True):
    """What a person asks `up` for. `state` is absolute; `sample` says whether the sample is loaded, `as_json` how to tell."""

    state: Path
    api_port: int = 8000
    dagster_port: int = 3000
    sample: bool = True
    as_json: bool = False

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def dagster_url(self) -> str:
        return f"http://127.0.0.1:{self.dagster_port}"


def run(wanted: Wanted, environ: Mapping[str, str], steps: Steps) -> bool:
    """Starts everything, tells what it does, and stays until a signal asks it to stop.

    False where a part did not come up or has died, which is said; everything else was then stopped.

    Raises:
        PortTaken: nothing was started.
        BadSetting: nothing was started.
    """
    for port, option in ((wanted.api_port, "--api-port"), (wanted.dagster_port, "--dagster-port")):
        if not port_is_free(port):
            raise PortTaken(f"port {port} is taken; choose another with {option} (make up {option[2:].upper().replace('-', '_')}=…)")
        PROMISED.add(port)
    asked = asked_for(environ, wanted.state)
    try:
        with stopped_by_signals(), ExitStack() as at_the_end:
            try:
                start_and_watch(wanted, asked, environ, steps, at_the_end)
            except (CannotStart, StoreError) as exc:
                steps.wrong(str(exc))
                return False
    except KeyboardInterrupt:
        steps.detail("Everything is stopped.")
    return True


def start_and_watch(wanted: Wanted, asked: Mapping[str, str], environ: Mapping[str, str], steps: Steps, at_the_end: ExitStack) -> None:
    """Starts one part after the other, each with its end put on `at_the_end`, and watches them; returns by an exception only."""
    engines = at_the_end.enter_context(running_engines(wanted.state, asked, report=steps.done))
    urls = {"api_url": wanted.api_url, "dagster_url": wanted.dagster_url}
    variables = platform_variables(asked, engines.environment, state=wanted.state, **urls)
    variables.setdefault("CAMPAIGNS_ERASURE_KEY", kept_password(wanted.state / "erasure-key"))
    env_file, home = wanted.state / ENV_FILE, wanted.state / "dagster"
    own = {ENV_FILE_VARIABLE: str(env_file), "DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    stack = Stack(wanted, {**environ, **variables, **own}, engines, steps)
    at_the_end.callback(stack.stop)
    at_the_end.callback(env_file.unlink, missing_ok=True)
    Path(variables["CAMPAIGNS_INBOX_DIR"]).mkdir(parents=True, exist_ok=True)
    write_env_file(env_file, variables)
    stack.lay_out_home()
    stack.start_code_server()
    stack.start_api()
    stack.prepare_dagster()
    stack.load_and_tell()
    while True:
        stack.pause()


class Stack:
    """The API and Dagster on running engines."""

    def __init__(self, wanted: Wanted, environment: Mapping[str, str], engines: RunningEngines, steps: Steps) -> None:
        self.wanted = wanted
        self.environment = environment
        self.settings = settings_of({name: value for name, value in environment.items() if name != ENV_FILE_VARIABLE})
        self.engines = engines
        self.steps = steps
        self.runs = DagsterRuns(wanted.dagster_url)
        self.home = Path(environment["DAGSTER_HOME"])
        self.workspace = self.home / "workspace.yaml"
        self.code_port = free_port()
        self.children: list[Child] = []

    @property
    def all_children(self) -> list[Child]:
        return [*self.children, *self.engines.children]

    def spawn(self, name: str, *command: str) -> Child:
        log = self.wanted.state / "logs" / f"{name}.log"
        child = spawn(name, command, log=log, environment=self.environment, directory=ROOT, parent_died=SIGTERM)
        self.children.append(child)
        return child

    def stop(self) -> None:
        """Ends the API and Dagster, the last one first."""
        self.steps.detail("Stopping …")
        self.runs.close()
        for child in reversed(self.children):
            child.stop()

    def pause(self) -> None:
        """Lets a little time pass; raises where a child has ended meanwhile."""
        check_running(self.all_children)
        time.sleep(LOOK_EVERY_S)

    def lay_out_home(self) -> None:
        """Writes what Dagster reads: its settings, and where it finds the assets."""
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "dagster.yaml", self.home / "dagster.yaml")
        code = f"{{host: 127.0.0.1, port: {self.code_port}, location_name: {LOCATION}}}"
        self.workspace.write_text(f"load_from:\n  - grpc_server: {code}\n")

    def start_code_server(self) -> None:
        """Starts loading the assets; it listens once that is done. One for webserver and daemon, as in production: the
        daemon would replace one of its own every minute, whether or not the code has changed."""
        where = ("--host", "127.0.0.1", "--port", str(self.code_port))
        assets = ("--module-name", "platform_assets.definitions", "--location-name", LOCATION)
        self.code_server = self.spawn("dagster-code", str(SCRIPTS / "dagster"), "api", "grpc", *where, *assets)

    def start_api(self) -> None:
        with self.steps.doing(f"API on {self.wanted.api_url}"):
            address = ("--host", "127.0.0.1", "--port", str(self.wanted.api_port))
            api = self.spawn("api", sys.executable, "-m", "retrieval", *address)
            wait_until(lambda: self.asked("/health/live").is_success, api, *self.all_children, timeout_s=READY_WITHIN_S)

    def asked(self, path: str) -> httpx.Response:
        """What the API says to this; 503 where it does not answer at all."""
        try:
            return httpx.get(self.wanted.api_url + path, headers=key_header(self.settings), timeout=REQUEST_TIMEOUT_S)
        except httpx.TransportError as exc:
            return httpx.Response(503, json={"title": f"the API does not answer: {exc}"})

    def prepare_dagster(self) -> None:
        """Makes Dagster's storage, once per Dagster version: webserver and daemon would both try, and one would fail."""
        note = self.home / "prepared-for"
        if note.exists() and note.read_text() == version("dagster"):
            return
        with self.steps.doing("Dagster's storage"):
            migration = self.spawn("dagster-storage", str(SCRIPTS / "dagster"), "instance", "migrate")
            try:
                while migration.running:
                    time.sleep(0.05)
            finally:
                migration.stop()
                self.children.remove(migration)
            if migration.exit_code:
                raise CannotStart(
                    f"Dagster's storage in {self.home} cannot be prepared; the end of {migration.log}:\n{migration.log_tail()}"
                )
        note.write_text(version("dagster"))

    def start_dagster(self) -> None:
        """Starts webserver and daemon on the loaded assets and waits for the UI."""
        with self.steps.doing(f"Dagster's UI on {self.wanted.dagster_url}"):
            wait_until(lambda: not port_is_free(self.code_port), self.code_server, *self.all_children, timeout_s=READY_WITHIN_S)
            workspace = ("-w", str(self.workspace))
            address = ("-h", "127.0.0.1", "-p", str(self.wanted.dagster_port))
            webserver = self.spawn("dagster-webserver", str(SCRIPTS / "dagster-webserver"), *address, *workspace)
            self.spawn("dagster-daemon", str(SCRIPTS / "dagster-daemon"), "run", *workspace)
            wait_until(self.runs.ready, webserver, *self.all_children, timeout_s=READY_WITHIN_S, interval_s=LOOK_EVERY_S)

    def load_and_tell(self) -> None:
        """What was loaded before is answered from at once, before Dagster is up; the sample when its run is over."""
        to_load = self.to_load()
        if to_load is None:
            self.tell(self.asked(SHOWN_PATH))
            self.start_dagster()
        else:
            self.start_dagster()
            loaded = self.load(to_load)
            self.tell(self.first_answer() if loaded else self.asked(SHOWN_PATH))

    def to_load(self) -> list[Path] | None:
        """The sample's files that were not read yet; None where nothing is to be done, not even a first release."""
        if not self.wanted.sample:
            return None
        documents = Documents(self.settings)
        try:
            documents.prepare()
            files = [file for file in SAMPLE if documents.taken(file.name, file_digest(file)) is None]
            return files if files or documents.latest_release() is None else None
        finally:
            documents.close()

    def load(self, files: list[Path]) -> bool:
        """Puts the files into the inbox and runs the refresh job, as a person would in the UI; whether the run succeeded."""
        for file in files:
            with suppress(FileExistsError):  # it waits there already, from an `up` that was stopped meanwhile
                deliver(file, Path(self.settings.inbox_dir), name=file.name)
        run_id = self.runs.launch()
        with self.steps.doing(f"Refresh with the sample, {self.runs.run_url(run_id)}"):
            for event in self.runs.follow(run_id, self.pause):
                tell_event(self.steps, event)
        return event == Finished(status="SUCCESS")

    def first_answer(self) -> httpx.Response:
        """Waits until the API has seen the release, which it looks for now and then, and every store was quick enough for an answer."""
        deadline = time.monotonic() + RELEASE_WITHIN_S
        while not is_whole(said := self.asked(SHOWN_PATH)) and time.monotonic() < deadline:
            self.pause()
        return said

    def tell(self, said: httpx.Response) -> None:
        ready = Ready(
            api_url=self.wanted.api_url,
            dagster_url=self.wanted.dagster_url,
            inbox=self.settings.inbox_dir,
            logs=str(self.wanted.state / "logs"),
            env_file=str(self.wanted.state / ENV_FILE),
            seconds=round(self.steps.seconds, 1),
            answer=said.json() if said.is_success else None,
        )
        tell_ready(self.steps, ready, said, default_env_file=Path(DEFAULT_ENV_FILE).absolute(), as_json=self.wanted.as_json)


def is_whole(said: httpx.Response) -> bool:
    """Whether this is an answer for which no source was left out."""
    return said.is_success and "X-Degraded" not in said.headers
