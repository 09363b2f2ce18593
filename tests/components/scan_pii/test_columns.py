import pytest

from llm_flywheel.components.scan_pii.columns import is_name


@pytest.mark.parametrize("column", ["text", "Label2", "고객 문의", "Q1", "_id", "user-name"])
def test_names_of_columns_are_names(column: str) -> None:
    assert is_name(column)


@pytest.mark.parametrize(
    "value", ["", "4711", "kim@example.com", "010-2345-6789", "Where is my card?", "AKIAIOSFODNN7EXAMPLE", "x" * 41]
)
def test_values_of_a_row_are_none(value: str) -> None:
    assert not is_name(value)
