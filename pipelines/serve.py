"""``flywheel serve``: a registered model behind the gateway on this machine, until Ctrl-C."""

import secrets
import signal
import sys
import time
from dataclasses import replace

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.local import serve as start
from llm_flywheel.components.deploy.local import write_endpoint
from llm_flywheel.components.deploy.versions import read_version
from llm_flywheel.pipelines.local import endpoint_of
from llm_flywheel.pipelines.summary import ask_commands
from llm_flywheel.serving.local.processes import alive, reap, records
from llm_flywheel.serving.local.watchdog import start_watchdog
from llm_flywheel.serving.rollout.plan import STABLE


def serve(model: str, version: str, port: int, settings: Settings) -> int:
    """Serve one version in the foreground.

    Args:
        model: Registered model.
        version: Version to serve; empty for the champion, or the newest where there is none.
        port: Port of the gateway; 0 for any.
        settings: Registry, storage, ledger.

    Returns:
        The exit status: 0 after Ctrl-C or SIGTERM.

    Raises:
        FlywheelError: The registry knows no such version, or a server does not start or ends.
    """
    models = {STABLE: read_version(settings, model, version)}
    run_id = f"serve-{model}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run_dir = settings.home / "runs" / run_id
    run_dir.mkdir(parents=True)
    settings = replace(settings, run_id=run_id, run_dir=run_dir)
    watchdog = start_watchdog(run_dir, run_id)
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # end as Ctrl-C does
        print(f"starting {model} version {models[STABLE].version}", flush=True)
        running = start(DeployConfig(port=port), model, models, settings)
        write_endpoint(running, model, models, settings)
        endpoint = endpoint_of(run_dir)
        assert endpoint is not None
        print("\n".join(["Ask the model:", *ask_commands(endpoint), "Ctrl-C stops it."]), flush=True)
        while all(alive(record) for record in records(run_dir)):
            time.sleep(1)
        raise FlywheelError("a server ended by itself", where=str(run_dir / "logs"), reason="server")
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)
    finally:
        reap(run_dir, run_id)
        watchdog.close()
    return 0
