import socket
from pathlib import Path

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.local.http import call
from llm_flywheel.serving.local.ready import cause_of, start_ready


def test_a_server_is_handed_over_when_it_answers(server: list[str], run_dir: Path, run_id: str) -> None:
    made = start_ready("web", lambda port: [*server, str(port)], run_dir=run_dir, run_id=run_id, timeout_s=30)
    assert call(f"http://127.0.0.1:{made.record.port}/health").status == 200


def test_a_server_that_ends_is_explained_by_its_own_words(server: list[str], run_dir: Path, run_id: str) -> None:
    with pytest.raises(FlywheelError) as caught:
        start_ready("web", lambda port: [*server, "1", "fail=no room"], run_dir=run_dir, run_id=run_id, timeout_s=30)
    assert caught.value.reason == "start"
    assert "web ended with status 1 before it was ready: ValueError: no room" in str(caught.value)
    assert str(run_dir / "logs" / "web.log") in str(caught.value)


def test_what_an_earlier_try_wrote_is_not_taken_for_the_cause(server: list[str], run_dir: Path, run_id: str) -> None:
    def fail(text: str) -> str:
        with pytest.raises(FlywheelError) as caught:
            start_ready("web", lambda _: [*server, "1", f"fail={text}"], run_dir=run_dir, run_id=run_id, timeout_s=30)
        return str(caught.value)

    assert "first trouble" in fail("first trouble")
    assert "first trouble" not in fail("second trouble")


def test_a_server_that_never_answers_is_a_timeout(server: list[str], run_dir: Path, run_id: str) -> None:
    with pytest.raises(FlywheelError, match="web was not ready after 1 s") as caught:
        start_ready("web", lambda port: [*server, str(port), "slow"], run_dir=run_dir, run_id=run_id, timeout_s=1)
    assert caught.value.reason == "timeout"


def test_a_port_that_somebody_took_in_between_is_replaced(server: list[str], run_dir: Path, run_id: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        offered: list[int] = []

        def argv(port: int) -> list[str]:
            offered.append(port)
            return [*server, str(taken.getsockname()[1] if len(offered) == 1 else port)]

        made = start_ready("web", argv, run_dir=run_dir, run_id=run_id, timeout_s=30)
    assert len(offered) == 2
    assert made.record.port == offered[1]


def test_a_wanted_port_that_is_taken_is_an_error(server: list[str], run_dir: Path, run_id: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(FlywheelError, match="Address already in use"):
            start_ready(
                "web", lambda chosen: [*server, str(chosen)], run_dir=run_dir, run_id=run_id, timeout_s=30, port=port
            )


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("INFO fine", ""),
        ("Traceback\nValueError: a\n", "ValueError: a"),
        ("(EngineCore pid=7) ERROR 11-21 [core.py:1] torch.OutOfMemoryError: 4 GiB", "torch.OutOfMemoryError: 4 GiB"),
        (
            "ValueError: head size 48 is not supported\n"
            "RuntimeError: Engine core initialization failed. See root cause above.",
            "ValueError: head size 48 is not supported",
        ),
        (
            "pydantic.ValidationError: 1 validation error for ModelConfig\n  Value error, max_model_len is too large\n",
            "pydantic.ValidationError: Value error, max_model_len is too large",
        ),
    ],
)
def test_the_cause_is_the_last_error_that_says_something(log: str, cause: str) -> None:
    assert cause_of(log) == cause
