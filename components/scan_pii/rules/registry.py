"""Every built-in rule."""

from llm_flywheel.components.scan_pii.rules import (
    email,
    fields,
    forms,
    inserts,
    names,
    numbers,
    obfuscated,
    secret,
    tables,
)
from llm_flywheel.components.scan_pii.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(frozenset({"EMAIL"}), email.find),
    Rule(frozenset({"EMAIL_OBFUSCATED"}), obfuscated.find),
    Rule(numbers.TYPES, numbers.find),
    Rule(frozenset({"SECRET"}), secret.find),
    Rule(names.TYPES, names.find),
    Rule(fields.TYPES, tables.find),
    Rule(fields.TYPES, forms.find),
    Rule(fields.TYPES, inserts.find),
)
