"""What the launcher understands of a training program's output."""

from llm_flywheel.components.finetune.events import TrainingLog, failure_text, parse_event


def test_progress_evals_and_end_become_metrics() -> None:
    log = TrainingLog()
    for line in (
        '{"split": "train", "examples": 9, "tokens": 90, "dropped": {"too_long": 2, "no_answer": 1}}\n',
        "Loading weights: 100%\n",
        '{"step": 5, "max_steps": 10, "pct": 50.0, "loss": 1.5, "lr": 0.001, "tok_s": 900, "eta_s": 1.0}\n',
        '{"step": 5, "eval_loss": 1.25}\n',
        '{"done": true, "steps": 10, "train_loss": 1.0, "tokens": 900}\n',
    ):
        log.feed(line)
    assert log.metrics() == {
        "steps": 10.0,
        "train_loss": 1.0,
        "final_loss": 1.5,
        "tokens_per_second": 900.0,
        "validation_loss": 1.25,
        "train_examples": 9.0,
        "train_dropped": 3.0,
    }
    assert list(log.tail) == ["Loading weights: 100%"]


def test_other_json_and_half_lines_are_text() -> None:
    assert parse_event('{"level": "info"}') == {}
    assert parse_event('{"step": 1,') == {}
    assert parse_event("[1, 2]") == {}


def test_error_event_keeps_its_reason() -> None:
    log = TrainingLog()
    log.feed('{"error": "the loss became nan at step 3", "reason": "loss_not_finite"}')
    assert (log.error, log.reason) == ("the loss became nan at step 3", "loss_not_finite")


def test_cause_stands_before_the_noise_of_torchrun() -> None:
    tail = [
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in main',
        "torch.OutOfMemoryError: tried to allocate 9 GiB",
        "E1120 torch/distributed/elastic: failed (exitcode: 1)",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
    ]
    assert failure_text(tail).splitlines()[0] == "torch.OutOfMemoryError: tried to allocate 9 GiB"
    assert failure_text(["[rank0]: ValueError: bad shape"]).startswith("[rank0]: ValueError: bad shape")


def test_without_an_exception_the_last_lines_speak() -> None:
    assert failure_text(["Killed"]) == "last lines:\n    Killed"
