"""The HTML page of ``curate``: what came in, what went where, and what the data looks like now."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_flywheel.components.common.dataset import SPLITS
from llm_flywheel.components.common.report import Page, bar_figure
from llm_flywheel.components.curate.quality import Histogram, Quality

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEANING = {
    "no_question": "no message of the user",
    "no_answer": "does not end with an answer",
    "user_too_short": "a user message below min_user_chars",
    "user_too_long": "a user message above max_user_chars",
    "assistant_too_short": "an answer below min_answer_chars",
    "assistant_too_long": "an answer above max_answer_chars",
    "language": "a language that is not in languages",
    "symbols": "a message that is mostly symbols",
    "repeated_characters": "one character over and over",
    "repeated_paragraphs": "the same paragraphs again",
    "repeated_lines": "the same lines again",
    "repeated_words": "the same words again",
    "boilerplate": "cookie banners, navigation, copyright lines, advertisements",
    "ai_disclaimer": "another assistant speaks of itself",
    "refusal": "the answer declines",
    "toxicity": "swear words or slurs",
    "exact_duplicate": "the same as an earlier row",
    "near_duplicate": "almost the same as an earlier row",
    "leaks_into_test": "the same or almost the same question as a held-out row",
    "contaminated": "holds an item of an evaluation set",
    "sampled_out": "taken away to balance the groups",
}
_DUPLICATES = ("exact_duplicate", "near_duplicate", "leaks_into_test")
_TITLES = {
    "user_chars": ("Characters per user message", "messages"),
    "assistant_chars": ("Characters per answer", "messages"),
    "turns": ("User messages per conversation", "conversations"),
    "tokens": ("Tokens per conversation", "conversations"),
}
_MOST_NAMES = 30
_MOST_BARS = 40


def write_report(manifest: Mapping[str, Any], path: Path) -> None:
    """Write the page.

    Args:
        manifest: The manifest of the curated data set; ``quality`` in it is a `Quality` of the rows that were kept.
        path: Where to write it.
    """
    splits, dropped = manifest["splits"], manifest["dropped"]
    quality = Quality.from_dict(manifest["quality"])
    page = Page("Data curation", f"Version {manifest['version']}, from {manifest['parent']}")
    page.heading("Every row accounted for")
    sums = " + ".join(f"{splits[name]:,} {name}" for name in SPLITS)
    page.text(f"{manifest['rows_in']:,} rows in = {sums} + {sum(dropped.values()):,} dropped.")
    _dropped(page, manifest["rows_in"], dropped, quality.examples)
    _decontamination(page, manifest)
    _splits(page, manifest)
    _missing(page, quality)
    _flagged(page, quality)
    _languages(page, quality)
    _sources(page, quality)
    _lengths(page, quality, manifest["config"]["tokenizer"])
    page.write(path)


def _dropped(page: Page, rows_in: int, dropped: Mapping[str, int], examples: Mapping[str, Sequence[str]]) -> None:
    page.heading("Dropped rows by reason")
    if not dropped:
        page.text("None.")
        return
    _bars(page, dropped, "rows", "Dropped rows per reason.")
    page.table(
        ["reason", "meaning", "rows", "share", "ids begin with"],
        [
            [key, _MEANING.get(key, "a phrase of your own list"), rows, _share(rows, rows_in), _ids(examples, key)]
            for key, rows in dropped.items()
        ],
    )
    copies = sum(dropped.get(reason, 0) for reason in _DUPLICATES)
    page.text(
        f"{copies:,} rows ({_share(copies, rows_in)}) were duplicates. Each dropped row is in dropped.parquet with its "
        "reason and, for a duplicate or a contaminated row, the id of the row or item that it repeats."
    )


def _decontamination(page: Page, manifest: Mapping[str, Any]) -> None:
    index = manifest.get("decontamination")
    if not index:
        return
    page.heading("Evaluation data")
    rows = manifest["dropped"].get("contaminated", 0)
    page.text(
        f"Compared with {index['items']:,} evaluation items ({index['texts']:,} texts, {index['sequences']:,} word "
        f"sequences): {rows:,} rows overlap one of them and were dropped. {index['templates']:,} sequences that many "
        f"items share and {index['too_short']:,} texts of a few words were not looked for."
    )


def _splits(page: Page, manifest: Mapping[str, Any]) -> None:
    page.heading("Splits")
    splits, clusters = manifest["splits"], manifest["clusters"]
    _bars(page, {name: splits[name] for name in SPLITS}, "rows", "Rows per split.")
    if manifest["held_out"]:
        page.text("The test split was given as held-out files; it is exactly as given.")
    page.text(
        f"{clusters['count']:,} groups of similar user texts, the largest with {clusters['largest']:,} rows; "
        "no group stands in two splits."
    )
    for name in SPLITS[1:]:
        absent = _absent(manifest, name)
        if absent and not (name == "test" and manifest["held_out"]):
            page.text(
                f"No row in {' or '.join(absent)} is in {name}: every group of similar texts in it is too large. "
                "A higher curate.leakage_threshold makes smaller groups."
            )
    uncompared = max(manifest["uncompared"].values())
    if uncompared:
        page.text(f"{uncompared:,} rows had too many look-alikes to be compared with every one of them.")


def _absent(manifest: Mapping[str, Any], split: str) -> list[str]:
    """Languages of at least one row in twenty that a split, which has rows, has none of."""
    languages = manifest["quality"]["languages"]
    rows: Counter[str] = Counter()
    for counts in languages.values():
        rows.update(counts)
    own = languages.get(split, {})
    return [lang for lang, count in rows.items() if own and lang not in own and count >= 0.05 * rows.total()]


def _missing(page: Page, quality: Quality) -> None:
    page.heading("Missing")
    names = ("system message", "language", "source", "meta")
    rows = [[name, quality.missing[name], _share(quality.missing[name], quality.rows)] for name in names]
    page.table(["kept rows without", "rows", "share"], rows)
    page.text(
        "Conversations without a question or an answer are not kept, plain texts are. "
        "Rows that could not be read are in ingest's report."
    )


def _flagged(page: Page, quality: Quality) -> None:
    page.heading("Kept, but worth a look")
    if not quality.flagged:
        page.text("No kept row has a phrase of a word list that flags.")
        return
    page.table(
        ["word list", "meaning", "rows", "share", "ids begin with"],
        [
            [name, _MEANING.get(name, "a phrase of your own list"), rows, _share(rows, quality.rows), ids]
            for name, rows in quality.flagged.most_common()
            for ids in [_ids(quality.examples, name)]
        ],
    )
    page.text("Set curate.word_lists to drop such rows.")


def _languages(page: Page, quality: Quality) -> None:
    page.heading("Languages")
    totals = _totals(quality.languages)
    _bars(page, totals, "rows kept", "Kept rows per language; und: not known.")
    page.table(
        ["language", *SPLITS, "all", "share"],
        [
            [name, *(quality.languages[split][name] for split in SPLITS), rows, _share(rows, quality.rows)]
            for name, rows in totals.items()
        ],
    )


def _sources(page: Page, quality: Quality) -> None:
    page.heading("Sources")
    totals = _totals(quality.sources)
    gone = quality.source_drops
    for name in sorted(gone.keys() - totals.keys()):
        totals[name] = 0
    shown = list(totals)[:_MOST_NAMES]
    _bars(page, {name: totals[name] for name in shown}, "rows kept", "Kept rows per source.")
    page.table(
        ["no.", "source", *SPLITS, *(["dropped"] if gone else []), "tokens per row"],
        [
            [
                number,
                name,
                *(quality.sources[split][name] for split in SPLITS),
                *([gone[name]] if gone else []),
                round(quality.source_tokens[name] / totals[name], 1) if totals[name] else 0,
            ]
            for number, name in enumerate(shown, 1)
        ],
    )
    if len(totals) > len(shown):
        page.text(f"And {len(totals) - len(shown):,} more sources.")


def _lengths(page: Page, quality: Quality, tokenizer: str) -> None:
    page.heading("Lengths")
    lengths = quality.lengths()
    names = ["count", "mean", "median", "p95", "longest"]
    page.table(
        ["", *names], [[_TITLES[key][0], *(item.get(name, "") for name in names)] for key, item in lengths.items()]
    )
    page.text("Medians and 95th percentiles are exact below 64 and within 1.6 % above.")
    page.text(
        f"Tokens are counted with the tokenizer in {tokenizer}."
        if tokenizer
        else "Tokens are estimated: one per four characters, 0.85 per Hangul character. Set curate.tokenizer to count."
    )
    for key, histogram in quality.histograms.items():
        title, of = _TITLES[key]
        if histogram.total:
            page.figure(_histogram(histogram, title.lower(), of), _caption(histogram, title))


def _caption(histogram: Histogram, title: str) -> str:
    beyond = sum(count for first, _, count in histogram.bins() if first > _last_shown(histogram))
    return f"{title}." + (f" {beyond:,} above, up to {histogram.largest:,}, are not shown." if beyond else "")


def _last_shown(histogram: Histogram) -> float:
    """The longest one percent would squeeze all others into one bar."""
    return histogram.quantile(0.99)


def _histogram(histogram: Histogram, x_label: str, y_label: str) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    bins = [item for item in histogram.bins() if item[0] <= _last_shown(histogram)]
    begin, end = bins[0][0], bins[-1][1]
    step = max(1, -(-(end - begin) // _MOST_BARS))
    edges = np.arange(begin, end + step, step)
    known, counts = [begin], [0]
    for first, after, count in bins:  # a bin's numbers are taken as evenly spread over it
        known += [first, after]
        counts += [counts[-1], counts[-1] + count]
    heights = np.diff(np.interp(edges, known, counts))
    figure = Figure(figsize=(7.5, 2.4))
    axes = figure.subplots()
    axes.bar(edges[:-1] - 0.5, heights, width=step, align="edge", color="#2f6fde", edgecolor="white", linewidth=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _bars(page: Page, counts: Mapping[str, int], x_label: str, caption: str) -> None:
    labels = [_label(name, number) for number, name in enumerate(counts, 1)]
    page.figure(bar_figure(labels, list(counts.values()), x_label), caption)


def _label(name: str, number: int) -> str:
    """A name for a figure, distinct by its number; the fonts there have no Hangul, so a table has the name."""
    if not (name.isascii() and name.isprintable()):
        return f"no. {number}"
    return name if len(name) <= 44 else f"{number}: …{name[-38:]}"


def _totals(per_split: Mapping[str, Counter[str]]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for counts in per_split.values():
        totals.update(counts)
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def _share(part: int, whole: int) -> str:
    share = part / whole if whole else 0
    return f"{share:.2%}" if 0 < share < 0.001 else f"{share:.1%}"


def _ids(examples: Mapping[str, Sequence[str]], name: str) -> str:
    return ", ".join(value[:8] for value in examples.get(name, ()))
