"""What a decision means in the model registry: aliases and tags, through MLflow."""

from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.decision import Outcome

CHAMPION = "champion"
CHALLENGER = "challenger"
TAG = "flywheel.rollout"


def client_for(tracking_uri: str) -> Any:
    """An MLflow client; imported late, because that takes seconds."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def apply_outcome(client: Any, name: str, version: str, outcome: Outcome, evidence_digest: str) -> dict[str, str]:
    """Move aliases and tag the version as the outcome says.

    Promotion moves ``champion`` to the version and records the champion before it; rollback takes ``challenger`` away;
    hold leaves both aliases alone.

    Args:
        client: MLflow client.
        name: Registered model.
        version: Version that was the canary.
        outcome: How the rollout ended.
        evidence_digest: SHA-256 of the evidence record, so that the registry names its proof.

    Returns:
        What changed, for the audit event: alias to version, empty where it was taken away.

    Raises:
        FlywheelError: The registry refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        aliases = dict(client.get_registered_model(name).aliases)
        changed: dict[str, str] = {}
        tags = {TAG: outcome.decision, f"{TAG}.reason": outcome.reason, f"{TAG}.rule": outcome.rule}
        tags[f"{TAG}.evidence"] = evidence_digest
        if outcome.decision == "promote":
            tags[f"{TAG}.previous_champion"] = str(aliases.get(CHAMPION, ""))
            client.set_registered_model_alias(name, CHAMPION, version)
            changed[CHAMPION] = version
        if outcome.decision != "hold" and str(aliases.get(CHALLENGER, "")) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
            changed[CHALLENGER] = ""
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        return changed
    except MlflowException as error:
        raise FlywheelError(
            f"the model registry refused: {error}", where=f"{name}/{version}", reason="registry"
        ) from None
