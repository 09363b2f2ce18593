import io
from pathlib import Path

from llm_flywheel.pipelines.transcript import Transcript

RAW = """\
01:00:52.753 - INFO - Running pipeline: \x1b[95m'flywheel'\x1b[0m
--------------------------------------------------------------------------------
01:00:52.759 - INFO - Executing task \x1b[96m'ingest'\x1b[0m
01:00:52.759 - INFO - Streamed logs:

    [KFP Executor 2026-11-21 01:00:52,822 INFO]: Looking for component `ingest`
    [KFP Executor 2026-11-21 01:00:52,822 INFO]: Got executor_input:
    {
        "inputs": {"parameterValues": {"token": "x"}}
    }
    read 10 rows
    [KFP Executor 2026-11-21 01:00:52,823 INFO]: Wrote executor output file
01:00:52.829 - INFO - Task \x1b[96m'ingest'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
01:00:52.829 - INFO - Task \x1b[96m'ingest'\x1b[0m outputs:
    report: HTML( name='report',
--------------------------------------------------------------------------------
"""


def test_the_terminal_gets_the_steps_words_and_the_log_gets_everything(tmp_path: Path) -> None:
    terminal = io.StringIO()
    transcript = Transcript(terminal, tmp_path / "run.log")
    for start in range(0, len(RAW), 7):  # pieces that cut lines anywhere
        transcript.write(RAW[start : start + 7])
    transcript.close()
    headline, line = terminal.getvalue().splitlines()
    assert headline.endswith("s] ▶ ingest")
    assert line.strip() == "read 10 rows"
    assert (tmp_path / "run.log").read_text() == RAW
