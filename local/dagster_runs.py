"""Launches and follows Dagster runs through the webserver's GraphQL, so that what is seen here is what the UI shows."""

from collections.abc import Callable, Iterator, Mapping

import httpx
import msgspec
from msgspec import Struct

from local.processes import CannotStart

LOCATION = "platform_assets"
REPOSITORY = "__repository__"
REFRESH = "refresh"
REBUILD = "rebuild"
REBUILD_TAG = "campaigns/rebuild"  # names the assets that a rebuild writes anew, separated by commas
REBUILDABLE = ("embeddings", "vectors", "graph", "metrics", "ranking_model")
FINISHED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
REQUEST_TIMEOUT_S = 30.0

WORKSPACE = """
query { workspaceOrError {
  ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on RepositoryLocation { name } ... on PythonError { message } } } }
  ... on PythonError { message }
} }"""

LAUNCH = """
mutation ($execution: ExecutionParams!) { launchRun(executionParams: $execution) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message }
  ... on PipelineNotFoundError { message }
  ... on RunConfigValidationInvalid { errors { message } }
} }"""

LAST = """
query { runsOrError(limit: 1) { ... on Runs { results { runId status startTime endTime jobName } } } }"""

EVENTS = """
query ($run: ID!, $after: String) {
  runOrError(runId: $run) { __typename ... on Run { status } }
  logsForRun(runId: $run, afterCursor: $after, limit: 200) { ... on EventConnection { cursor hasMore events {
    __typename
    ... on MessageEvent { timestamp stepKey message }
    ... on MaterializationEvent { assetKey { path } metadataEntries { label ... on IntMetadataEntry { intValue } } }
    ... on AssetCheckEvaluationEvent { evaluation { checkName success severity assetKey { path } } }
    ... on ExecutionStepFailureEvent { error { message causes { message } } }
  } } }
}"""


class LastRun(Struct, frozen=True, kw_only=True):
    """The run that was launched last; `started_ms` and `ended_ms` are epoch ms, 0 where it has not come to that."""

    run_id: str
    job: str
    status: str
    started_ms: int
    ended_ms: int
    url: str


class Materialized(Struct, frozen=True, kw_only=True):
    """An asset was materialized: its whole-number metadata by label ("dagster/row_count", …) and the seconds it took."""

    asset: str
    counts: dict[str, int]
    seconds: float


class CheckFailed(Struct, frozen=True, kw_only=True):
    """A check of an asset did not hold; `severity` is WARN or ERROR."""

    asset: str
    check: str
    severity: str


class StepFailed(Struct, frozen=True, kw_only=True):
    """An asset could not be materialized."""

    asset: str
    message: str


class Finished(Struct, frozen=True, kw_only=True):
    """The run is over: SUCCESS, FAILURE or CANCELED."""

    status: str


RunEvent = Materialized | CheckFailed | StepFailed | Finished


class _Key(Struct):
    path: list[str]


class _Metadata(Struct, rename="camel"):
    label: str
    int_value: int | None = None


class _Evaluation(Struct, rename="camel"):
    check_name: str
    success: bool
    severity: str
    asset_key: _Key


class _Error(Struct):
    message: str
    causes: list["_Error"] = []

    @property
    def root(self) -> str:
        """What went wrong first: Dagster wraps it in errors of its own."""
        return self.causes[-1].root if self.causes else self.message.strip()


class _Event(Struct, rename="camel"):
    kind: str = msgspec.field(name="__typename")
    timestamp: str = "0"
    step_key: str | None = None
    message: str = ""
    asset_key: _Key | None = None
    metadata_entries: list[_Metadata] = []
    evaluation: _Evaluation | None = None
    error: _Error | None = None


class _Page(Struct, rename="camel"):
    cursor: str = ""
    has_more: bool = False
    events: list[_Event] = []


class _Status(Struct):
    status: str = ""


class DagsterRuns:
    """The runs of one webserver at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=REQUEST_TIMEOUT_S)

    def close(self) -> None:
        self._http.close()

    def ready(self) -> bool:
        """Whether the webserver answers and has loaded the assets.

        Raises:
            CannotStart: the assets cannot be loaded; the message is Dagster's.
        """
        try:
            workspace = self._ask(WORKSPACE)["workspaceOrError"]
        except httpx.HTTPError:
            return False
        if "message" in workspace:
            raise CannotStart(f"Dagster cannot read its workspace: {workspace['message']}")
        entries = {entry["name"]: entry for entry in workspace["locationEntries"]}
        entry = entries.get(LOCATION)
        if entry is None or entry["loadStatus"] != "LOADED":
            return False
        location = entry["locationOrLoadError"]
        if location["__typename"] == "PythonError":
            raise CannotStart(f"Dagster cannot load {LOCATION}: {location['message'].strip()}")
        return True

    def launch(self, job: str = REFRESH, *, tags: Mapping[str, str] | None = None) -> str:
        """Launches a job of the code location, with these tags over its own; gives the run's id.

        Raises:
            CannotStart: Dagster did not take it.
        """
        selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": job}
        metadata = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        execution = {"selector": selector, "mode": "default", "runConfigData": "{}", "executionMetadata": metadata}
        answer = self._ask(LAUNCH, execution=execution)["launchRun"]
        if "run" not in answer:
            raise CannotStart(f"Dagster did not launch {job}: {answer.get('message') or answer.get('errors') or answer['__typename']}")
        return str(answer["run"]["runId"])

    def last(self) -> LastRun | None:
        """The run that was launched last; None where there is none, or the webserver does not answer."""
        try:
            found = self._ask(LAST)["runsOrError"].get("results")
        except httpx.HTTPError:
            return None
        if not found:
            return None
        run = found[0]
        return LastRun(
            run_id=run["runId"],
            job=run["jobName"],
            status=run["status"],
            started_ms=round((run["startTime"] or 0) * 1000),
            ended_ms=round((run["endTime"] or 0) * 1000),
            url=self.run_url(run["runId"]),
        )

    def run_url(self, run_id: str) -> str:
        """Where a person sees the run."""
        return f"{self.url}/runs/{run_id}"

    def follow(self, run_id: str, pause: Callable[[], None]) -> Iterator[RunEvent]:
        """What happens in the run, as it happens, `Finished` last. `pause` is called between two looks."""
        after: str | None = None
        started_ms: dict[str, float] = {}
        while True:
            try:
                answer = self._ask(EVENTS, run=run_id, after=after)
            except httpx.TransportError:  # too busy to answer in time; where it has died, `pause` says so
                pause()
                continue
            status = msgspec.convert(answer["runOrError"], _Status).status
            page = msgspec.convert(answer["logsForRun"], _Page)
            for event in page.events:
                if event.kind == "ExecutionStepStartEvent" and event.step_key:
                    started_ms[event.step_key] = float(event.timestamp)
                if (told := told_by(event, started_ms)) is not None:
                    yield told
            after = page.cursor or after
            if status in FINISHED and not page.has_more and not page.events:
                yield Finished(status=status)
                return
            if not page.has_more:
                pause()

    def _ask(self, query: str, **variables: object) -> dict:
        answer = self._http.post("/graphql", json={"query": query, "variables": variables})
        answer.raise_for_status()
        body = answer.json()
        if body.get("errors"):
            raise CannotStart(f"Dagster's GraphQL refused a question: {body['errors'][0]['message']}")
        return body["data"]


def told_by(event: _Event, started_ms: dict[str, float]) -> RunEvent | None:
    """What one event tells a person; None for the many that tell nothing."""
    if event.kind == "MaterializationEvent" and event.asset_key:
        counts = {entry.label: entry.int_value for entry in event.metadata_entries if entry.int_value is not None}
        at_ms = float(event.timestamp)
        seconds = (at_ms - started_ms.get(event.step_key or "", at_ms)) / 1000
        return Materialized(asset="/".join(event.asset_key.path), counts=counts, seconds=seconds)
    if event.evaluation and not event.evaluation.success:
        evaluation = event.evaluation
        return CheckFailed(asset="/".join(evaluation.asset_key.path), check=evaluation.check_name, severity=evaluation.severity)
    if event.kind == "ExecutionStepFailureEvent":
        return StepFailed(asset=event.step_key or "", message=event.error.root if event.error else event.message)
    return None
