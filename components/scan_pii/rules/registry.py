"""Every built-in rule."""

from llm_flywheel.components.scan_pii.rules import card, email, iban, ip, phone, registration, secret
from llm_flywheel.components.scan_pii.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(frozenset({"EMAIL"}), email.find),
    Rule(frozenset({"PHONE"}), phone.find),
    Rule(frozenset({"CREDIT_CARD"}), card.find),
    Rule(frozenset({"US_SSN"}), registration.find_ssn),
    Rule(frozenset({"KR_RRN", "KR_FRN"}), registration.find_rrn),
    Rule(frozenset({"IP_ADDRESS"}), ip.find),
    Rule(frozenset({"IBAN"}), iban.find),
    Rule(frozenset({"SECRET"}), secret.find),
)
