"""The journal of a rollout: what it saw and did, durable before it acts, so that another process can go on."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.records import JournalEntry
from llm_flywheel.serving.rollout.decision import Outcome
from llm_flywheel.serving.rollout.evidence import Baseline
from llm_flywheel.serving.rollout.plan import RolloutPlan
from llm_flywheel.serving.rollout.record import Record, VariantSummary, look_of

logger = logging.getLogger(__name__)

# A rollout begins, looks, perhaps goes on in another process, has decided, has moved the aliases, and is settled;
# or another run found it unfinished and silent.
START, LOOK, RESUMED, DECIDED, ALIASES, SETTLED, ABANDONED = (
    "start",
    "look",
    "resumed",
    "decided",
    "aliases",
    "settled",
    "abandoned",
)
FINISHED = (SETTLED, ABANDONED)

# A rollout that has written nothing for this long, and for this many of its intervals, has nobody who watches it.
SILENT_SECONDS, SILENT_INTERVALS = 60.0, 3


class TakenOver(FlywheelError):
    """Another process went on with this rollout: this one must not touch traffic or aliases any more."""


class Busy(FlywheelError):
    """A process watches this rollout right now: what splits its traffic in a cluster is not another one's to change."""


class JournalStore(Protocol):
    """Where journals are kept; the ledger is one."""

    def append_journal(self, entry: JournalEntry) -> bool:
        """Write one entry durably; False if its ``seq`` is taken."""

    def journal(self, run_id: str, model: str, version: str) -> Sequence[JournalEntry]:
        """All entries of one rollout in order."""

    def journal_heads(self, model: str) -> Sequence[JournalEntry]:
        """The last entry of every rollout of a model."""


class Journal:
    """The journal of one rollout of one run; reads what an earlier process left.

    Without a run id a finished rollout cannot be told from a new one of the same version: a new one begins.

    Args:
        store: Where it is kept.
        run_id: Pipeline run, or empty.
        model: Served and registered name.
        version: Version that is the canary.
        clock: Unix seconds.
    """

    def __init__(
        self, store: JournalStore, run_id: str, model: str, version: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self.clock = store, clock
        self.run_id, self.model, self.version = run_id, model, version
        entries = list(store.journal(run_id, model, version))
        self._next = len(entries)
        begun = max((index for index, entry in enumerate(entries) if entry.phase == START), default=0)
        self._entries = entries[begun:]
        if not run_id and self.phase in FINISHED:
            self._entries = []

    @property
    def phase(self) -> str:
        """What was done last; empty before the start."""
        return self._entries[-1].phase if self._entries else ""

    @property
    def warming_up(self) -> bool:
        """Whether no look has ended the warm-up yet."""
        return all(look["decision"]["action"] != "advance" for look in self.looks)

    @property
    def looks(self) -> list[Mapping[str, Any]]:
        """Bodies of all looks in order: ``seen``, ``decision`` and the ids of the requests counted."""
        return [entry.body for entry in self._entries if entry.phase == LOOK]

    def body(self, phase: str) -> Mapping[str, Any] | None:
        """Body of the last entry of a phase, or None if the rollout did not get there."""
        return next((entry.body for entry in reversed(self._entries) if entry.phase == phase), None)

    def append(self, phase: str, body: Mapping[str, Any]) -> None:
        """Write one entry; it is durable when this returns.

        Raises:
            TakenOver: Another process has written to this journal since it was read.
            FlywheelError: The ledger refuses.
        """
        # Through JSON once, so that this process goes on with the same values as one that reads them.
        plain = json.loads(json.dumps(body, allow_nan=False))
        entry = JournalEntry(self.run_id, self.model, self.version, self._next, self.clock(), phase, plain)
        if not self._store.append_journal(entry):
            raise TakenOver(
                "another process has gone on with this rollout",
                where=f"{self.model} {self.version}, run {self.run_id or '-'}",
                reason="taken_over",
            )
        self._entries.append(entry)
        self._next += 1

    def require_silent(self) -> None:
        """Make sure that no process watches this rollout, as far as its journal tells.

        Raises:
            Busy: It was heard of a short while ago.
        """
        if not self._entries or self.phase in FINISHED:
            return
        silent = max(SILENT_SECONDS, SILENT_INTERVALS * self.plan(RolloutPlan()).interval_seconds)
        since = self.clock() - self._entries[-1].time
        if since < silent:
            raise Busy(
                f"a rollout of {self.model} runs: version {self.version}, run {self.run_id or '-'}, "
                f"last heard of {max(0.0, since):.0f} s ago",
                fix=f"wait until it has ended; after {silent:.0f} s of silence it counts as dead",
                reason="busy",
            )

    def plan(self, default: RolloutPlan) -> RolloutPlan:
        """The plan that this rollout began with, else ``default``."""
        begun = self.body(START)
        return RolloutPlan.model_validate(begun["plan"]) if begun else default

    def record(self) -> Record:
        """The record of a rollout that has decided; the same whenever and wherever it is asked for."""
        begun, decided = self.body(START), self.body(DECIDED)
        if begun is None or decided is None:
            raise FlywheelError("this rollout has not decided", where=f"{self.model} {self.version}", reason="journal")
        return Record(
            self.model,
            begun["versions"],
            self.run_id,
            begun["actor"],
            begun["started"],
            decided["ended"],
            RolloutPlan.model_validate(begun["plan"]),
            {kind: Baseline(tuple(item["samples"]), item["threshold"]) for kind, item in decided["baselines"].items()},
            [look_of(look) for look in self.looks],
            decided["applied"],
            Outcome(**decided["outcome"]),
            {variant: VariantSummary(**item) for variant, item in decided["summary"].items()},
        )


def abandon_orphans(store: JournalStore, journal: Journal, audit: Callable[[str, Mapping[str, Any]], None]) -> None:
    """Close unfinished rollouts of the same model by other runs, before this one begins or deploys for its own.

    One whose process still watches is left alone. An orphan's process, should it live after all, can write nothing
    into its journal from here on, and so does nothing either. Its weights are this rollout's to set: it begins with
    all traffic on stable.

    Args:
        store: Where journals are kept.
        journal: Of the rollout that is about to begin.
        audit: Called for every orphan.

    Raises:
        Busy: Another run watches a rollout of this model right now.
    """
    for head in store.journal_heads(journal.model):
        if head.phase in FINISHED or (head.run_id, head.version) == (journal.run_id, journal.version):
            continue
        other = Journal(store, head.run_id, head.model, head.version, journal.clock)
        other.require_silent()
        other.append(ABANDONED, {"by": journal.run_id})
        audit("rollout.abandoned", {"version": head.version, "of_run": head.run_id, "phase": head.phase})
        logger.warning("rollout: version %s of run %s was left unfinished; closed", head.version, head.run_id)
