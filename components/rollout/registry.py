"""What a decision means in the model registry: aliases and tags, through MLflow."""

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

    Args:
        settings: Address of the registry.
        name: Registered model.
        version: Version that was the canary.
        outcome: How the rollout ended.
        evidence_digest: SHA-256 of the evidence record, so that the registry names its proof.

    Returns:
        What changed, for the audit event: alias to version, empty where it was taken away.

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
    changed: dict[str, str] = {}
    with explained(settings.tracking_uri):
        aliases = {alias: str(held) for alias, held in client.get_registered_model(name).aliases.items()}
        if outcome.decision == "promote":
            tags[f"{TAG}.previous_champion"] = aliases.get(CHAMPION, "")
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        if outcome.decision != "hold" and aliases.get(CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
            changed[CHALLENGER] = ""
        if outcome.decision == "promote":
            client.set_registered_model_alias(name, CHAMPION, version)
            changed[CHAMPION] = version
    return changed
