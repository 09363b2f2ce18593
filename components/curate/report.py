"""The HTML page of ``curate``: what came in, what went where, and what the data looks like now."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_flywheel.components.common.dataset import SPLITS
from llm_flywheel.components.common.report import Page, bar_figure
from llm_flywheel.components.curate.rows import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llm_flywheel.components.curate.curate import Curated

_MEANING = {
    "no_question": "no message of the user",
    "no_answer": "does not end with an answer",
    "user_too_short": "a user message below min_user_chars",
    "user_too_long": "a user message above max_user_chars",
    "assistant_too_short": "an answer below min_answer_chars",
    "assistant_too_long": "an answer above max_answer_chars",
    "language": "a language that is not in languages",
    "symbols": "mostly symbols",
    "repetition": "repeats itself",
    "exact_duplicate": "the same as an earlier row",
    "near_duplicate": "almost the same as an earlier row",
    "leaks_into_test": "the same or almost the same question as a held-out row",
}


def write_report(manifest: Mapping[str, Any], outcome: "Curated", path: Path) -> None:
    """Write the page.

    Args:
        manifest: The manifest of the curated data set.
        outcome: Its rows.
        path: Where to write it.
    """
    splits, dropped = manifest["splits"], manifest["dropped"]
    sums = " + ".join(f"{splits[name]:,} {name}" for name in SPLITS)
    page = Page("Data curation", f"Version {manifest['version']}, from {manifest['parent']}")
    page.heading("Every row accounted for")
    page.text(f"{manifest['rows_in']:,} rows in = {sums} + {sum(dropped.values()):,} dropped.")
    if manifest["held_out"]:
        page.text("The test split was given as held-out files; it is exactly as given.")
    _dropped(page, dropped)
    page.heading("Splits")
    page.figure(bar_figure(SPLITS, [splits[name] for name in SPLITS], "rows"), "Rows per split.")
    clusters = manifest["clusters"]
    page.text(
        f"{clusters['count']:,} groups of similar user texts, the largest with {clusters['largest']:,} rows; "
        "no group stands in two splits."
    )
    uncompared = max(manifest["uncompared"].values())
    if uncompared:
        page.text(f"{uncompared:,} rows had too many look-alikes to be compared with every one of them.")
    _counts(page, "Languages", "language", manifest["languages"])
    _counts(page, "Sources", "source", manifest["sources"])
    _lengths(page, manifest["lengths"], outcome.splits)
    page.write(path)


def _dropped(page: Page, dropped: Mapping[str, int]) -> None:
    page.heading("Dropped rows by reason")
    if not dropped:
        page.text("None.")
        return
    page.figure(bar_figure(list(dropped), list(dropped.values()), "rows"), "Dropped rows per reason.")
    page.table(["reason", "meaning", "rows"], [[key, _MEANING.get(key, ""), rows] for key, rows in dropped.items()])
    page.text("Each dropped row is in dropped.parquet with its reason and, for a duplicate, the id that was kept.")


def _counts(page: Page, title: str, label: str, per_split: Mapping[str, Mapping[str, int]]) -> None:
    totals: Counter[str] = Counter()
    for counts in per_split.values():
        totals.update(counts)
    page.heading(title)
    names = [name for name, _ in totals.most_common()]
    page.figure(bar_figure(names, [totals[name] for name in names], "rows kept"), f"Kept rows per {label}.")
    page.table(
        [label, *SPLITS, "all"],
        [[name, *(per_split[split].get(name, 0) for split in SPLITS), totals[name]] for name in names],
    )


def _lengths(page: Page, lengths: Mapping[str, Mapping[str, float]], splits: Mapping[str, Sequence[Row]]) -> None:
    page.heading("Lengths")
    for role in lengths:
        values = [
            len(item["content"])
            for rows in splits.values()
            for row in rows
            for item in row.messages
            if item["role"] == role
        ]
        page.figure(_histogram(values), f"Characters per {role} message, all splits; longest {max(values):,}.")
    names = ["messages", "mean", "median", "p95", "longest"]
    page.table(["characters per message", *names], [[role, *map(item.get, names)] for role, item in lengths.items()])


def _histogram(values: Sequence[int]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.4))
    axes = figure.subplots()
    axes.hist(values, bins=min(40, max(1, len(set(values)))), color="#2f6fde")
    axes.set_xlabel("characters")
    axes.set_ylabel("messages")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
