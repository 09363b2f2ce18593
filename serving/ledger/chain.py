"""The audit chain as pure functions: canonical JSON, the hash of an event, and the check of a whole chain."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.records import AuditEvent, AuditVerdict

GENESIS = "0" * 64


def canonical_json(value: Any) -> str:
    """Serialise JSON in one way only, as in RFC 8785 (JCS): sorted keys, no spaces, ECMAScript numbers.

    Unlike RFC 8785, integers beyond 2^53 keep all their digits.

    Args:
        value: None, bool, int, finite float, str, list, tuple, or a mapping with string keys.

    Raises:
        FlywheelError: Anything else, as it would not survive a round trip.
    """
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float) and math.isfinite(value):
        return _number(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(canonical_json, value))}]"
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return f"{{{','.join(f'{_string(key)}:{canonical_json(value[key])}' for key in keys)}}}"
    raise FlywheelError(f"{value!r} ({type(value).__name__}) is not JSON", where="audit details", reason="not_json")


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FlywheelError(f"{text!r} is not valid Unicode", where="audit details", reason="not_json") from None
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMAScript's Number::toString (ECMA-262, 6.1.6.1.20), from Python's shortest repr."""
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def event_hash(previous: str, seq: int, time: float, actor: str, action: str, object: str, details: Any) -> str:
    """Hash of one event: SHA-256 over the 32 bytes of ``previous`` and the canonical record, 64 hex digits."""
    record = {"seq": seq, "time": time, "actor": actor, "action": action, "object": object, "details": details}
    return hashlib.sha256(bytes.fromhex(previous) + canonical_json(record).encode()).hexdigest()


def next_event(
    previous: str, seq: int, time: float, actor: str, action: str, object: str, details: Mapping[str, Any]
) -> AuditEvent:
    """The event that follows the one with hash ``previous``."""
    digest = event_hash(previous, seq, time, actor, action, object, details)
    return AuditEvent(seq, time, actor, action, object, details, previous, digest)


def verify_chain(events: Iterable[AuditEvent], head_seq: int, head_hash: str) -> AuditVerdict:
    """Check that every event is as written and none is missing.

    A change to everything from some event up to the head record is consistent in itself; only a copy of the
    head kept elsewhere shows it.

    Args:
        events: All events by ascending ``seq``.
        head_seq: Number of events ever written, from the head record.
        head_hash: Hash of the last event, from the head record.

    Returns:
        The verdict; on failure with the first bad ``seq``.
    """
    previous, count = GENESIS, 0
    for event in events:
        expected = count + 1
        if event.seq != expected:
            return _bad(count, expected, "missing", f"event {expected} is missing")
        if not _intact(event):
            return _bad(count, expected, "changed", f"event {expected} is not what its hash was made from")
        if event.previous != previous:
            # Its own hash is right, so it vouches for a predecessor other than the one that is there.
            bad = max(1, expected - 1)
            return _bad(count, bad, "rewritten", f"event {bad} was replaced and hashed anew")
        previous, count = event.hash, expected
    if count < head_seq:
        return _bad(count, count + 1, "missing", f"events {count + 1} to {head_seq} were cut off")
    if count > head_seq:
        return _bad(count, head_seq + 1, "unknown", f"the head record knows only {head_seq} events")
    if previous != head_hash:
        return _bad(count, max(1, count), "rewritten", f"event {count} was replaced and hashed anew")
    return AuditVerdict(True, count, head=previous)


def _intact(event: AuditEvent) -> bool:
    try:
        digest = event_hash(
            event.previous, event.seq, event.time, event.actor, event.action, event.object, event.details
        )
    except (ValueError, TypeError, FlywheelError):
        return False
    return digest == event.hash


def _bad(count: int, seq: int, reason: str, detail: str) -> AuditVerdict:
    return AuditVerdict(False, count, seq, reason, detail)
