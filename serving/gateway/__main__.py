"""``python -m llm_flywheel.serving.gateway --config FILE --port N``: run the gateway until SIGTERM."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.gateway.app import Gateway
from llm_flywheel.serving.gateway.config import load_config
from llm_flywheel.serving.gateway.server import Server, listen
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.prices import DEFAULT_PRICES, load_prices, models_without_price

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway; returns the exit status (0: stopped as told, 2: could not start)."""
    parser = argparse.ArgumentParser(prog="python -m llm_flywheel.serving.gateway", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML or JSON file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 picks a free one")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(options.config, options.host, options.port)
    except FlywheelError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def serve(config_path: Path, host: str, port: int) -> None:
    """Check everything, then serve until a signal comes.

    Raises:
        FlywheelError: The config, the prices, the ledger or the port is not usable.
    """
    settings = Settings.from_env()
    config = load_config(config_path)
    prices = load_prices(Path(config.prices) if config.prices else DEFAULT_PRICES)
    run_id = settings.run_id if config.run_id is None else config.run_id
    listening = listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    with listening, Ledger.open(config.ledger_url or settings.ledger_url) as ledger:
        for model in models_without_price(prices, list(config.routes), time.time()):
            logger.warning("no price, so no cost, for model %s", model)
        app = Gateway(config, ledger, prices, run_id=run_id)
        app.announce(settings.actor)
        server = Server(app, config.drain_timeout_s, lambda: print(f"gateway ready at {address}", flush=True))
        server.serve_until_signal(listening)


if __name__ == "__main__":
    sys.exit(main())
