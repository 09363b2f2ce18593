from pathlib import Path

from llm_flywheel.components.common.report import Page, bar_figure, markdown_table, show


def test_a_page_escapes_text_and_stands_alone(tmp_path: Path) -> None:
    page = Page("Data <quality>", "1 & 2")
    page.heading("Dropped")
    page.table(["reason", "rows"], [["<script>", 12345]])
    page.figure(bar_figure(["a", "b"], [1.0, 2.5], "rows"), "rows per reason")
    page.verdict(False, "3 left")
    page.write(tmp_path / "sub" / "report.html")
    text = (tmp_path / "sub" / "report.html").read_text()
    assert "<script>" not in text
    assert "Data &lt;quality&gt;" in text
    assert '<th>reason</th><th class="n">rows</th>' in text
    assert '<td class="n">12,345</td>' in text
    assert text.count("<svg") == 1
    assert 'class="bad">Failed.' in text


def test_values_are_shown_as_people_read_them() -> None:
    values = [True, 1234567, 0.5, 1234.56789, 2.0, "x"]
    assert [show(value) for value in values] == ["yes", "1,234,567", "0.5", "1,234.5679", "2", "x"]


def test_a_pipe_in_a_cell_does_not_break_a_markdown_table() -> None:
    assert markdown_table(["a"], [["x|y"], [2]]) == "| a |\n|---|\n| x&#124;y |\n| 2 |\n"
