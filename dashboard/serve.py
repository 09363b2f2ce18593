"""Start the dashboard: this process becomes Streamlit."""

import importlib.util
import os
import sys
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings

_APP = Path(__file__).with_name("app.py")


def command(port: int) -> list[str]:
    """The command line that serves the dashboard on this machine only, without a call to any other host."""
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(_APP), *arguments]


def main(settings: Settings, port: int) -> None:
    """Replace this process by the dashboard over the ledger of ``settings``.

    Args:
        settings: Where the ledger is.
        port: Port on 127.0.0.1.

    Raises:
        FlywheelError: Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise FlywheelError(
            "the dashboard needs Streamlit", fix="pip install 'llm-flywheel[dashboard]'", reason="missing"
        )
    print(f"dashboard: http://127.0.0.1:{port}  (Ctrl-C ends it)", flush=True)
    environment = {**os.environ, "FLYWHEEL_HOME": str(settings.home), "FLYWHEEL_LEDGER_URL": settings.ledger_url}
    os.execve(sys.executable, command(port), environment)  # noqa: S606 - an argument list, no shell
