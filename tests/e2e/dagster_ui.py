"""What Dagster's UI shows and does, asked through the GraphQL that the UI itself uses."""

import time
from typing import Any

import httpx

SELECTOR = {"repositoryLocationName": "platform_assets", "repositoryName": "__repository__"}

ASSETS = """query { assetNodes {
  assetKey { path } groupName kinds description owners { ... on TeamAssetOwner { team } }
  dependencyKeys { path }
  assetMaterializations(limit: 1) { metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } }
  assetChecksOrError { ... on AssetChecks { checks { name blocking executionForLatestMaterialization { status } } } }
} }"""
WORKSPACE = """query { workspaceOrError { ... on Workspace { locationEntries { name loadStatus
  locationOrLoadError { __typename } } } } }"""
DAEMONS = "query { instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
LAUNCH = """mutation ($execution: ExecutionParams!) { launchRun(executionParams: $execution) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
UNFINISHED = """query { runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) {
  ... on Runs { results { runId } } } }"""
SENSOR = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
  ... on Sensor { name sensorState { status } targets { pipelineName } } } }"""
DRY_RUN = """mutation ($selector: SensorSelector!, $cursor: String) { sensorDryRun(selectorData: $selector, cursor: $cursor) {
  __typename ... on PythonError { message stack } ... on SensorNotFoundError { message }
  ... on DryRunInstigationTick { evaluationResult { skipReason error { message } runRequests { runKey } } } } }"""
SCHEDULE = """query ($schedule: ScheduleSelector!) { scheduleOrError(scheduleSelector: $schedule) {
  ... on Schedule { name cronSchedule pipelineName scheduleState { status } } } }"""


class DagsterUI:
    """The UI at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert not answer.get("errors"), answer
        found: dict[str, Any] = answer["data"]
        return found

    def assets(self) -> dict[str, dict[str, Any]]:
        """Every asset's node by its key."""
        return {"/".join(node["assetKey"]["path"]): node for node in self.ask(ASSETS)["assetNodes"]}

    def idle(self) -> bool:
        """Whether no run is under way or waiting."""
        return self.ask(UNFINISHED)["runsOrError"]["results"] == []

    def materialize_all(self, names: list[str]) -> str:
        """What the button does: one run of the hidden job of all assets. The run's id."""
        selection = [{"path": [name]} for name in names]
        selector = SELECTOR | {"jobName": "__ASSET_JOB", "assetSelection": selection}
        answer = self.ask(LAUNCH, execution={"selector": selector, "runConfigData": "{}", "mode": "default"})["launchRun"]
        return str(answer["run"]["runId"])

    def ended(self, run_id: str, *, timeout_s: float = 180) -> str:
        """The status in which a run ended."""
        deadline = time.monotonic() + timeout_s
        while (status := self.ask(RUN, id=run_id)["runOrError"]["status"]) not in ("SUCCESS", "FAILURE", "CANCELED"):
            assert time.monotonic() < deadline, f"run {run_id} is {status}"
            time.sleep(0.5)
        return str(status)
