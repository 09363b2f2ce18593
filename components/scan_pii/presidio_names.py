"""Names that Presidio gives to entities, and ours, so that a Presidio user can switch.

Source: "Supported entities" of microsoft/presidio 2.2.
"""

from collections.abc import Mapping

from llm_flywheel.components.scan_pii.spans import PII_TYPES, PiiType

TO_PRESIDIO: Mapping[PiiType, str] = {
    **{kind: kind for kind in PII_TYPES},
    "EMAIL": "EMAIL_ADDRESS",
    "EMAIL_OBFUSCATED": "EMAIL_ADDRESS",
    "PHONE": "PHONE_NUMBER",
    "IBAN": "IBAN_CODE",
    "BANK_ACCOUNT": "US_BANK_NUMBER",
    "ADDRESS": "LOCATION",
}

FROM_PRESIDIO: Mapping[str, tuple[PiiType, ...]] = {
    theirs: tuple(ours for ours, name in TO_PRESIDIO.items() if name == theirs)
    for theirs in dict.fromkeys(TO_PRESIDIO.values())
}


def our_types(name: str) -> tuple[PiiType, ...]:
    """The types that a name of ours or of Presidio's stands for; none when nobody knows it."""
    return (name,) if name in PII_TYPES else FROM_PRESIDIO.get(name, ())
