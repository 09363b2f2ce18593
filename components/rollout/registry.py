"""What a decision means in the model registry: aliases and tags, through MLflow."""

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.tracking import CHALLENGER, CHAMPION, explained, open_client
from llm_flywheel.serving.rollout.decision import Outcome

TAG = "flywheel.rollout"


def apply_outcome(
    settings: Settings, name: str, version: str, outcome: Outcome, evidence_digest: str
) -> dict[str, str]:
    """Move aliases and tag the version as the outcome says.

    Promotion moves ``champion`` to the version and records the champion before it; rollback takes ``challenger`` away;
    hold leaves both aliases alone. ``champion`` moves last, so that a failure before that leaves it where it was.
    It may be called again for the same outcome.

    Args:
        settings: Address of the registry.
        name: Registered model.
        version: Version that was the canary.
        outcome: How the rollout ended.
        evidence_digest: SHA-256 of the evidence record, so that the registry names its proof.

    Returns:
        What the outcome changes, for the audit event: alias to version, empty where it is taken away. A second call
        says the same.

    Raises:
        FlywheelError: The registry refuses.
    """
    client = open_client(settings)
    tags = {
        TAG: outcome.decision,
        f"{TAG}.rule": outcome.rule,
        f"{TAG}.reason": outcome.reason,
        f"{TAG}.evidence": evidence_digest,
    }
    with explained(settings.tracking_uri):
        aliases = {alias: str(held) for alias, held in client.get_registered_model(name).aliases.items()}
        if outcome.decision == "promote" and aliases.get(CHAMPION) != version:
            tags[f"{TAG}.previous_champion"] = aliases.get(CHAMPION, "")
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        if outcome.decision == "hold":
            return {}
        if aliases.get(CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
        if outcome.decision != "promote":
            return {CHALLENGER: ""}
        client.set_registered_model_alias(name, CHAMPION, version)
        return {CHALLENGER: "", CHAMPION: version}


def is_champion(settings: Settings, name: str, version: str) -> bool:
    """Whether the registry says so; False also when it does not answer."""
    try:
        client = open_client(settings)
        with explained(settings.tracking_uri):
            return str(client.get_registered_model(name).aliases.get(CHAMPION, "")) == version
    except FlywheelError:
        return False
