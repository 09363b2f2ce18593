"""``python -m llm_flywheel.serving.ledger verify``: check the audit chain of the ledger this machine uses."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.ledger.ledger import verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one ledger command; returns the exit status (0: intact, 1: tampered with, 2: could not check)."""
    parser = argparse.ArgumentParser(prog="python -m llm_flywheel.serving.ledger", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("verify", help="check the audit chain")
    check.add_argument("--ledger-url", help="instead of FLYWHEEL_LEDGER_URL")
    options = parser.parse_args(arguments)
    settings = Settings.from_env()
    if options.ledger_url:
        settings = replace(settings, ledger_url=options.ledger_url)
    try:
        verdict = verify(settings)
    except FlywheelError as error:
        print(error, file=sys.stderr)
        return 2
    if verdict.ok:
        print(f"audit chain intact: {verdict.events} events, head {verdict.head}")
        return 0
    print(f"audit chain BROKEN at event {verdict.first_bad_seq} ({verdict.reason}): {verdict.detail}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
