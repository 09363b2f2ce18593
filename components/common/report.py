"""Self-contained HTML reports: tables and pictures in one file that the KFP UI, a browser and a mail show alike."""

import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#2f6fde}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans","Noto Sans KR",sans-serif;
max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}
h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
p.lead{margin-top:0;opacity:.75}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th{background:var(--soft);font-weight:600;overflow-wrap:normal}td.n,th.n{text-align:right;white-space:nowrap}
figure{margin:1rem 0;background:#fff;border-radius:6px;padding:.5rem}figure svg{max-width:100%;height:auto}
figcaption{color:#444;font-size:.85rem}.ok{color:#1a7f37;font-weight:600}.bad{color:#cf222e;font-weight:600}
"""

_ALIGNED = ' class="n"'


class Page:
    """An HTML report built from top to bottom; all text is escaped.

    Example:
        >>> page = Page("Data quality", "1,000 rows in, 900 out")
        >>> page.heading("Dropped rows")
        >>> page.table(["reason", "rows"], [["duplicate", 100]])
        >>> page.write(Path("report.html"))
    """

    def __init__(self, title: str, lead: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        if lead:
            self._parts.append(f'<p class="lead">{html.escape(lead)}</p>')

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def verdict(self, passed: bool, text: str) -> None:
        """Add a line that says passed or failed in words and colour."""
        word, kind = ("Passed", "ok") if passed else ("Failed", "bad")
        self._parts.append(f'<p><span class="{kind}">{word}.</span> {html.escape(text)}</p>')

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; numbers are right-aligned under their heading, with thousands separators."""
        rows = [list(row) for row in rows]
        numeric = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(header))]
        head = "".join(
            f"<th{_ALIGNED if right else ''}>{html.escape(cell)}</th>"
            for cell, right in zip(header, numeric, strict=True)
        )
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def figure(self, figure: "Figure", caption: str) -> None:
        """Add a matplotlib figure as inline SVG; the caption says in words what it shows."""
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight")
        svg = buffer.getvalue()
        svg = svg[svg.index("<svg") :]
        self._parts.append(f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>")

    def render(self) -> str:
        """The whole page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{html.escape(self._title)}</title><style>{_STYLE}</style></head>"
            f"<body>{''.join(self._parts)}</body></html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the page, making its folder when needed."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.render(), encoding="utf-8")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    return f"<td{_ALIGNED if _is_number(value) else ''}>{html.escape(show(value))}</td>"


def show(value: object) -> str:
    """A value as a person reads it: thousands separators, at most four significant decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return str(value)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub-style Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(show(cell).replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def bar_figure(labels: Sequence[str], values: Sequence[float], x_label: str) -> "Figure":
    """A horizontal bar chart with the value beside each bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.6 + 0.32 * max(1, len(labels))))
    axes = figure.subplots()
    # A dollar sign would begin a formula.
    bars = axes.barh([label.replace("$", r"\$") for label in labels], list(values), color="#2f6fde")
    axes.bar_label(bars, labels=[show(value) for value in values], padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(x_label)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
