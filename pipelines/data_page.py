"""The HTML page of ``flywheel data diff``."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from llm_flywheel.components.common.report import Page, bar_figure
from llm_flywheel.components.common.shift import Shift
from llm_flywheel.components.common.version_diff import Difference
from llm_flywheel.pipelines.cli_data import SHIFT_HEADER, example_lines, row_counts, shift_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_A_COLOUR, _B_COLOUR = "#9aa4b2", "#2f6fde"


def write_page(difference: Difference, path: Path) -> None:
    """Write the page.

    Args:
        difference: What to show.
        path: Where to write it.
    """
    a, b = difference.a, difference.b
    page = Page("Dataset diff", f"A: {a}. B: {b}.")
    page.heading("The two versions")
    names = ("version", "step", "run_id", "created", "made_by", "level", "parent", "folder")
    rows = [(name.replace("_", " "), *(str(getattr(item, name)) or "-" for item in (a, b))) for name in names]
    page.table(["property", "A", "B"], [*rows, ("rows", f"{difference.rows_a:,}", f"{difference.rows_b:,}")])
    page.heading("Rows")
    if difference.equal:
        page.text("Equal: the same rows in the same splits.")
    else:
        counts = row_counts(difference)
        labels, numbers, _ = zip(*counts, strict=True)
        page.figure(bar_figure(labels, numbers, "rows"), "Rows by what became of them.")
        page.table(["rows", "number", "why"], counts)
        page.text(
            f"A: {difference.rows_a:,} = {difference.same:,} same + {difference.changed:,} changed + "
            f"{difference.removed:,} removed. B: {difference.rows_b:,} = {difference.same:,} same + "
            f"{difference.changed:,} changed + {difference.added:,} added."
        )
    _distributions(page, difference)
    if difference.examples:
        page.heading("Examples")
        page.table(["rows"], [[line] for example in difference.examples for line in example_lines(example)])
    page.write(path)


def _distributions(page: Page, difference: Difference) -> None:
    page.heading("Distributions")
    page.table(SHIFT_HEADER, shift_rows(difference))
    page.text(
        "PSI, the population stability index, is the sum over bins of (q - p) ln(q / p), with half a row added to each "
        "bin; below 0.1 a shift is small, from 0.25 it is large (Siddiqi, 2006), and chance is what one in twenty "
        "pairs of samples of these sizes exceeds without any shift (Yurdakul, 2018). TVD, the total variation "
        "distance, is the share of rows that would have to change their bin. A token is estimated as four bytes."
    )
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks: names of files may be Korean.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for shift in difference.shifts:
            page.figure(_bars(shift), f"Share of the rows by {shift.name}: PSI {shift.psi:.4f}, TVD {shift.tvd:.4f}.")


def _bars(shift: Shift) -> "Figure":
    """Shares of both datasets below the name of each bin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.9 + 0.5 * len(shift.labels)))
    axes = figure.subplots()
    for offset, name, counts, colour in ((0, "A", shift.a, _A_COLOUR), (0.3, "B", shift.b, _B_COLOUR)):
        total = sum(counts)
        shares = [100 * rows / total for rows in counts]
        bars = axes.barh([at + offset for at in range(len(shares))], shares, 0.28, label=name, color=colour)
        axes.bar_label(bars, labels=[f"{share:.1f}" for share in shares], padding=3, fontsize=8)
    for at, label in enumerate(shift.labels):
        axes.text(0, at - 0.2, f" {label}", fontsize=9, parse_math=False)
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.set_xlabel("% of the rows")
    axes.margins(x=0.12)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure
