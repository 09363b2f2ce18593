"""The end of a local run: what happened, where the reports are, and how to go on."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llm_flywheel.components.common.errors import without_password
from llm_flywheel.components.common.report import show as show_value
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.pipelines.local import FAILED, OK, RunResult, endpoint_of

_STATUS = {"ok": "[green]ok[/]", "failed": "[red]failed[/]", "running": "[yellow]interrupted[/]"}


def show(result: RunResult, settings: Settings, *, kept: bool, console: Console | None = None) -> None:
    """Print the summary of a run.

    Args:
        result: The run.
        settings: Where its state is.
        kept: The model server and the gateway are still running.
        console: Where to print; stdout when not given.
    """
    console = console or Console(highlight=False)
    console.print(_table(result))
    for step in result.steps:
        for report in step.reports:
            console.print(f"  {step.name:<16} {_short(report)}", soft_wrap=True)
    words = {OK: "[green]green[/]", FAILED: "[red]red[/]"}.get(result.status, "[yellow]interrupted[/]")
    console.print(f"\nRun {result.run_id} ended {words} after {result.seconds:.0f} s.")
    if result.error:
        console.print(f"[red]{_escaped(result.error)}[/]", soft_wrap=True)
    console.print(f"Log: {_short(result.run_dir / 'run.log')}\n", soft_wrap=True)
    console.print(_next_steps(result, settings, kept), soft_wrap=True, markup=False)


def _table(result: RunResult) -> Table:
    table = Table(title=f"Run {result.run_id}", title_justify="left")
    table.add_column("step")
    table.add_column("status")
    table.add_column("seconds", justify="right")
    table.add_column("result")
    for step in result.steps:
        facts = ", ".join(f"{key} {show_value(value)}" for key, value in step.summary.items())
        table.add_row(step.name, _STATUS[step.status], f"{step.seconds:.1f}", _escaped(facts))
    return table


def _next_steps(result: RunResult, settings: Settings, kept: bool) -> str:
    here = settings.home == Path.cwd() / ".flywheel"
    flywheel = (
        _program("flywheel") if here else f"FLYWHEEL_HOME={shlex.quote(str(settings.home))} {_program('flywheel')}"
    )
    lines = [
        "Look at the run in MLflow:",
        f"  {_mlflow(settings.tracking_uri)}",
        "Spend, variants and audit events:",
        f"  {flywheel} dashboard",
        f"  {flywheel} audit verify",
    ]
    if any(step.name == "rollout" and step.status == "ok" for step in result.steps):
        lines += ["Reproduce the rollout decision:", f"  {flywheel} rollout replay {result.run_id}"]
    endpoint = endpoint_of(result.run_dir)
    if kept and endpoint:
        lines += ["Ask the model:", *ask_commands(endpoint), f"Stop it:\n  {flywheel} down {result.run_id}"]
    elif result.status == OK and endpoint and endpoint.get("target") == "cluster":
        lines += ["Ask the model through the cluster's Gateway:", ask_gateway(endpoint)]
    elif result.status == OK and endpoint:
        lines += ["Ask the model (starts it, and prints how to ask):", f"  {flywheel} serve {endpoint['model']}"]
    return "\n".join(lines)


def ask_commands(endpoint: dict[str, Any]) -> list[str]:
    """Commands that ask a running endpoint a question, with curl and with the OpenAI client."""
    url, model, key_file = endpoint["base_url"], endpoint["model"], endpoint["key_file"]  # url ends in /v1
    question = endpoint["example_question"]
    messages = [{"role": "user", "content": question}]
    body = json.dumps({"model": model, "messages": messages}, ensure_ascii=False)
    code = (
        f"from openai import OpenAI; c = OpenAI(base_url={url!r}, api_key=open({key_file!r}).read().strip()); "
        f"print(c.chat.completions.create(model={model!r}, messages={messages!r}).choices[0].message.content)"
    )
    return [
        f'  curl -s {url}/chat/completions -H "Authorization: Bearer $(cat {shlex.quote(key_file)})" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}",
        f"  {_program('python')} -c {shlex.quote(code)}",
    ]


def ask_gateway(endpoint: dict[str, Any]) -> str:
    """The command that asks a service in a cluster a question, whatever version answers."""
    where = endpoint["variants"]["stable"]
    messages = [{"role": "user", "content": endpoint["example_question"]}]
    body = json.dumps({"model": endpoint["model"], "messages": messages}, ensure_ascii=False)
    return (
        f"  curl -s {where['url']}/v1/chat/completions -H 'Host: {where['host']}' "
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )


def _mlflow(uri: str) -> str:
    """How to look at MLflow; a database's password never gets onto a command line."""
    if uri.startswith(("http://", "https://")):
        return without_password(uri)
    shown = shlex.quote(uri) if uri.startswith("sqlite:") else '"$MLFLOW_TRACKING_URI"'
    return f"{_program('mlflow')} ui --backend-store-uri {shown} --port 5000"


def _program(name: str) -> str:
    """How to call a program of this environment, which need not be activated."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found and Path(found) == here else shlex.quote(_short(here))


def _short(path: str | Path) -> str:
    """A path relative to the working folder, where that is shorter."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
