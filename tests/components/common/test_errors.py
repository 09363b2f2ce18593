import pytest

from llm_flywheel.components.common.errors import first_line, without_password


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  two\n"), "two"),
        (ValueError(), "ValueError"),
        (OSError(""), "OSError"),
    ],
)
def test_the_first_line_of_a_message_or_the_type(error: BaseException, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://eva:s3cr3t@db:5432/ledger", "postgresql+psycopg://eva:***@db:5432/ledger"),
        ("https://eva:s3/c@r#t@mlflow/x", "https://eva:***@mlflow/x"),
        ("redis://:s3cr3t@cache", "redis://:***@cache"),
        ("http://eva@mlflow:5000/", "http://eva@mlflow:5000/"),
        ("http://mlflow:5000/", "http://mlflow:5000/"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
        ("minio:9000", "minio:9000"),
        ("", ""),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
