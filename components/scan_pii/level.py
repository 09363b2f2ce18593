"""Whether masked data fulfils the policy of a level, so that its security level may become that one."""

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.policy import Level


def earned_level(config: ScanPiiConfig, passed: bool) -> str:
    """The level whose readers may see the data after a scan with ``config``, or empty when there is none.

    It is ``config.level``, if rows and meta were masked, the gate passed, and no key of the run configuration says
    something else than the policy of that level; only ``types`` may look for more. A policy file that is not on this
    machine cannot be compared, and earns nothing.

    Args:
        config: What was masked and how.
        passed: Whether the gate found nothing in the written table but what may remain.
    """
    if not (config.level and passed and config.action == "mask" and config.scan_meta):
        return ""
    try:
        written = bind(ScanPiiConfig, {"level": config.level, "policy": config.policy})
    except FlywheelError:
        return ""
    same = all(getattr(config, key) == getattr(written, key) for key in Level.model_fields if key != "types")
    return config.level if same and set(config.types) >= set(written.types) else ""
