"""Uploads a compiled pipeline to a Kubeflow Pipelines API and starts a run of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.kfp_backend import Backend

MAX_NAME = 127  # kubeflow/pipelines backend/src/apiserver/validation: pipeline and version names


@dataclass(frozen=True)
class Submitted:
    """A run that the backend accepted.

    Attributes:
        run_id: Id of the run.
        pipeline_id: Id of the pipeline it belongs to.
        version_id: Id of the pipeline version that runs; the same for the same content.
        url: Page of the run in the KFP UI.
    """

    run_id: str
    pipeline_id: str
    version_id: str
    url: str


def submit(
    compiled: Path,
    run_name: str,
    params: Mapping[str, Any],
    *,
    host: str,
    token: str = "",
    namespace: str = "",
    experiment: str = "Default",
    pipeline_name: str = "llm-flywheel",
    verify_ssl: bool = True,
    ca_cert: str | Path = "",
) -> Submitted:
    """Upload ``compiled`` if the backend does not hold it yet, and start a run.

    A pipeline of that name gets a new version, named by the content's hash; the same content is not uploaded twice.

    Args:
        compiled: YAML that ``flywheel compile`` wrote.
        run_name: What the run is called in the UI.
        params: Pipeline parameters by name, JSON values.
        host: Address of the KFP API, such as ``https://kubeflow.example.com/pipeline``.
        token: Bearer token; empty for a backend without authentication.
        namespace: Profile namespace; needed by a multi-user Kubeflow, refused by any other.
        experiment: Created when missing.
        pipeline_name: Created when missing.
        verify_ssl: Whether the server's certificate must be valid.
        ca_cert: CA bundle (PEM) that signed it; empty for the public ones.

    Returns:
        Ids and the run's page.

    Raises:
        FlywheelError: The backend cannot be reached or refuses, with its own words and what to do; `reason` is one
            of host, unreachable, not-kfp, tls, token, forbidden, namespace, clash, pipeline, parameters, server.
    """
    content, version_name = _versioned(compiled, pipeline_name)
    backend = Backend(host, token=token, verify_ssl=verify_ssl, ca_cert=ca_cert)
    namespace = backend.check_namespace(namespace)
    pipeline_id = backend.pipeline(pipeline_name, namespace)
    version_id = backend.version(pipeline_id, version_name, compiled, content)
    experiment_id = backend.experiment(experiment, namespace)
    run_id = backend.run(run_name, experiment_id, pipeline_id, version_id, params)
    return Submitted(run_id, pipeline_id, version_id, f"{backend.host}/#/runs/details/{run_id}")


def _versioned(compiled: Path, pipeline_name: str) -> tuple[bytes, str]:
    """The file's content and the name of the version that holds it."""
    try:
        content = compiled.read_bytes()
    except OSError as error:
        raise FlywheelError(
            f"cannot read the compiled pipeline: {error.strerror}",
            where=str(compiled),
            fix="flywheel compile",
            reason="pipeline",
        ) from None
    # A backend that keeps pipelines as Kubernetes objects wants names that are unique in the namespace.
    name = f"{pipeline_name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not pipeline_name.strip() or len(name) > MAX_NAME:
        raise FlywheelError(
            f"a pipeline name must have 1 to {MAX_NAME - 13} characters", where=pipeline_name, reason="pipeline"
        )
    return content, name
