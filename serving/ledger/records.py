"""What the ledger holds: one usage row per request, and audit events in a hash chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["ok", "client_error", "upstream_error", "timeout", "aborted", "unavailable"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "client_error", "upstream_error", "timeout", "aborted", "unavailable")


@dataclass(frozen=True)
class UsageRow:
    """One request to a model, whatever became of it.

    Attributes:
        time: Arrival, Unix seconds UTC.
        request_id: Unique; a second row with the same id is ignored.
        key_id: Id of the API key (never the key), empty when the caller was not authenticated.
        user: Owner of the key.
        team: Team that pays.
        model: Public model name, empty when the request named none that exists.
        version: Registered model version that answered.
        variant: ``stable`` or ``canary``, empty when no variant was chosen.
        prompt_tokens: Tokens of the prompt, or None when the upstream reported none.
        cached_tokens: Those prompt tokens that came from a cache.
        completion_tokens: Generated tokens, or None when the upstream reported none.
        ttft_s: Seconds to the first token, or None when nothing was streamed.
        latency_s: Seconds to the end of the answer.
        outcome: One of `OUTCOMES`.
        status: HTTP status that the caller got (499: the caller went away).
        cost: Price of the request in ``currency``, or None when tokens or price are unknown.
        currency: ISO 4217 code, empty when ``cost`` is None.
        run_id: Pipeline run that deployed the variant, or empty.
        upstream: Base URL of the model server, empty when none was asked.
    """

    time: float
    request_id: str
    key_id: str = ""
    user: str = ""
    team: str = ""
    model: str = ""
    version: str = ""
    variant: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_s: float | None = None
    latency_s: float = 0.0
    outcome: Outcome = "ok"
    status: int = 200
    cost: float | None = None
    currency: str = ""
    run_id: str = ""
    upstream: str = ""


@dataclass(frozen=True)
class AuditEvent:
    """One link of the audit chain.

    Attributes:
        seq: Position, from 1, without gaps.
        time: Unix seconds UTC.
        actor: Who did it.
        action: What was done, dotted (``model.promote``).
        object: What it was done to (``model:name/3``).
        details: Facts, as a JSON object.
        previous: Hash of the event before, 64 hex digits (zeros for the first).
        hash: SHA-256 over ``previous`` and the canonical record, 64 hex digits.
    """

    seq: int
    time: float
    actor: str
    action: str
    object: str
    details: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class AuditVerdict:
    """Result of a check of the whole chain.

    Attributes:
        ok: Whether every event is as it was written.
        events: Number of events read.
        first_bad_seq: Lowest ``seq`` that is wrong or missing; None when ok.
        reason: Machine-readable: empty, ``changed``, ``missing``, ``rewritten``, ``unknown`` or ``head``.
        detail: The same for a person.
        head: Hash of the last event; keep it elsewhere to prove later that nothing was cut off.
    """

    ok: bool
    events: int
    first_bad_seq: int | None = None
    reason: str = ""
    detail: str = ""
    head: str = ""


@dataclass(frozen=True)
class JournalEntry:
    """One thing that a rollout did.

    Attributes:
        run_id: Pipeline run, or empty.
        model: Served and registered name.
        version: Version that is the canary.
        seq: Position in the journal of this rollout, from 0, without gaps.
        time: Unix seconds UTC.
        phase: What was done, a constant of `serving.rollout.journal`.
        body: Facts, as a JSON object.
    """

    run_id: str
    model: str
    version: str
    seq: int
    time: float
    phase: str
    body: Mapping[str, Any]
