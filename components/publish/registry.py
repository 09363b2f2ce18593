"""The MLflow side of publishing: one run with lineage, one registered model version, both found again on a retry."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.tracking import CHALLENGER, explained, open_client

CONTENT, RUN = "flywheel.content", "flywheel.run_id"
_PARAM_LIMIT = 6000  # characters of a value (mlflow.utils.validation.MAX_PARAM_VAL_LENGTH)
_PARAMS_PER_CALL = 100
_DESCRIPTION_LIMIT = 5000  # characters (mlflow.store.model_registry.dbmodels)


@dataclass(frozen=True)
class Facts:
    """What is registered about a model version.

    Attributes:
        name: Registered model.
        experiment: MLflow experiment.
        uri: Object-store URI of the model.
        content: SHA-256 of the model folder.
        run_id: Pipeline run.
        params: Flat settings.
        metrics: Finite numbers.
        tags: Lineage: of the run and of the version.
        dataset: Version, source and row counts of the dataset.
        manifest: The whole manifest of the dataset.
    """

    name: str
    experiment: str
    uri: str
    content: str
    run_id: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: Mapping[str, Any]
    manifest: Mapping[str, Any]


class Registry:
    """MLflow tracking and registry at one URI."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = open_client(settings)

    def find_version(self, facts: Facts) -> str:
        """The version that holds these bytes from this pipeline run, or empty."""
        with explained(self._settings.tracking_uri):
            query = f"name = '{facts.name}' and tags.`{CONTENT}` = '{facts.content}'"
            found = self._client.search_model_versions(query)
            return next((str(item.version) for item in found if item.tags.get(RUN, "") == facts.run_id), "")

    def log_run(self, facts: Facts) -> str:
        """Write the run: params, metrics, dataset and tags. A run that KFP opened is used and left open.

        Returns:
            The MLflow run id.
        """
        from mlflow.entities import Metric, Param, RunTag

        with explained(self._settings.tracking_uri):
            given = self._settings.mlflow_run_id
            run_id = given or self._find_run(facts) or self._create_run(facts)
            params = [Param(key, _short(value)) for key, value in sorted(facts.params.items())]
            for start in range(0, len(params), _PARAMS_PER_CALL):
                self._client.log_batch(run_id, params=params[start : start + _PARAMS_PER_CALL])
            now = int(time.time() * 1000)
            metrics = [Metric(key, value, now, 0) for key, value in facts.metrics.items() if math.isfinite(value)]
            tags = {**facts.tags, CONTENT: facts.content, RUN: facts.run_id}
            self._client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
            self._log_dataset(run_id, facts)
            self._client.log_text(run_id, json.dumps(facts.manifest, ensure_ascii=False, indent=1), "dataset.json")
            if not given:
                self._client.set_terminated(run_id, "FINISHED")
            return str(run_id)

    def create_version(self, facts: Facts, mlflow_run: str) -> str:
        """Register the model version with its lineage tags and return it."""
        from mlflow.exceptions import MlflowException

        with explained(self._settings.tracking_uri):
            try:
                self._client.get_registered_model(facts.name)
            except MlflowException:
                self._client.create_registered_model(facts.name)
            tags = {**facts.tags, CONTENT: facts.content, RUN: facts.run_id}
            made = self._client.create_model_version(facts.name, facts.uri, run_id=mlflow_run, tags=tags)
            return str(made.version)

    def finish(self, facts: Facts, version: str, mlflow_run: str, card: str) -> None:
        """Store the card and move the alias ``challenger`` to the version."""
        with explained(self._settings.tracking_uri):
            self._client.log_text(mlflow_run, card, "model_card.md")
            # The whole card is an artifact; the registry shows what fits into its column.
            self._client.update_model_version(facts.name, version, card[:_DESCRIPTION_LIMIT])
            self._client.set_registered_model_alias(facts.name, CHALLENGER, version)

    def mlflow_run_of(self, facts: Facts, version: str) -> str:
        """The run that a version was registered from."""
        with explained(self._settings.tracking_uri):
            return str(self._client.get_model_version(facts.name, version).run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifact_location(self._settings, name)))

    def _find_run(self, facts: Facts) -> str:
        query = f"tags.`{CONTENT}` = '{facts.content}' and tags.`{RUN}` = '{facts.run_id}'"
        runs = self._client.search_runs([self._experiment(facts.experiment)], query, max_results=1)
        return str(runs[0].info.run_id) if runs else ""

    def _create_run(self, facts: Facts) -> str:
        tags = {CONTENT: facts.content, RUN: facts.run_id, "mlflow.user": self._settings.actor}
        name = facts.run_id or facts.name
        run = self._client.create_run(self._experiment(facts.experiment), tags=tags, run_name=name)
        return str(run.info.run_id)

    def _log_dataset(self, run_id: str, facts: Facts) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = facts.dataset
        entity = Dataset(
            name=str(data["name"]),
            digest=str(data["version"]),
            source_type="local",
            source=json.dumps({"uri": data["source"]}),
            profile=json.dumps(data["profile"]),
        )
        self._client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def artifact_location(settings: Settings, experiment: str) -> str | None:
    """Where a new experiment keeps its artifacts; None where MLflow knows it, as its server and its folders do.

    For a bare database MLflow would take the working folder, which a pod loses.
    """
    scheme = urlsplit(settings.tracking_uri).scheme
    if scheme == "sqlite":
        return (settings.home / "mlartifacts" / experiment).as_uri()
    return None if scheme in ("http", "https", "file", "") else f"{settings.object_store}/mlflow"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _PARAM_LIMIT else f"{text[: _PARAM_LIMIT - 1]}…"
