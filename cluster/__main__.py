"""``make cluster`` and ``make cluster-down``: a Kubernetes of this machine's own, or what is missing in a given one."""

import argparse
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from llm_flywheel.cluster.install import ROOT, TOKEN_HOURS, Installer
from llm_flywheel.cluster.node import LocalNode, kubectl, stop
from llm_flywheel.cluster.programs import NODE, PARTS, build
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_secret

CACHE = ROOT / ".cache" / "cluster"
STATE = CACHE / "node"


def main() -> int:
    """Run; 0 when done, 1 with an explanation when not."""
    parser = argparse.ArgumentParser(prog="python -m llm_flywheel.cluster", description=__doc__)
    parser.add_argument("action", choices=["build", "up", "down"])
    action = parser.parse_args().action
    try:
        if action == "down":
            stop(STATE)
            for name in ("env.sh", "pipeline.kubeconfig", "admin.kubeconfig", "given"):
                (CACHE / name).unlink(missing_ok=True)
        elif action == "build":
            build((*NODE, *PARTS), CACHE / "programs")
        else:
            up(os.environ.get("KUBECONFIG", ""))
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def up(given: str) -> None:
    """Start a node unless a cluster is given, install what is missing, and say how to use it.

    Args:
        given: KUBECONFIG of a cluster; empty for a node of our own. One that an earlier call wrote means what that
            call was given.
    """
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    remembered, admin = CACHE / "given", CACHE / "admin.kubeconfig"
    if given and Path(given).resolve().parent == CACHE.resolve():
        given = remembered.read_text(encoding="utf-8") if remembered.exists() else ""
    if given:
        found = shutil.which("kubectl")
        if found is None:
            raise FlywheelError(
                "kubectl is not installed", fix="https://kubernetes.io/docs/tasks/tools", reason="missing"
            )
        node, programs, program = None, {}, Path(found)
        flat = kubectl(program, Path(given), "config", "view", "--raw", "--flatten", "--minify")
        remembered.write_text(given, encoding="utf-8")
    else:
        programs = build((*NODE, *PARTS), CACHE / "programs")
        node, program = LocalNode(STATE, programs), programs["kubectl"]
        if not node.running():
            print("starting the node", flush=True)
            node.start()
        flat = node.kubeconfig.read_text(encoding="utf-8")
        remembered.unlink(missing_ok=True)
    write_secret(admin, flat)
    installer = Installer(program, admin, programs, node, CACHE / "images")
    installer.run()
    pipeline, script = CACHE / "pipeline.kubeconfig", CACHE / "env.sh"
    installer.pipeline_kubeconfig(pipeline)
    gateway, variables = installer.gateway_url(), installer.environment()
    variables |= {"KUBECONFIG": str(pipeline), "FLYWHEEL_GATEWAY": gateway}
    write_secret(script, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    print(f"\nThe cluster is up ({time.monotonic() - started:.0f} s).")
    print(f"  Gateway        {gateway or 'none that we know of: set deploy.gateway'}")
    print(f"  as admin       export KUBECONFIG={admin}")
    print(f"  as a pipeline  source {script.relative_to(ROOT)} (a token for {TOKEN_HOURS} hours)")
    if node is None and "AWS_ENDPOINT_URL" in variables:
        print("  MinIO and PostgreSQL are reached through")
        print("    kubectl -n flywheel-storage port-forward service/minio 9000 &")
        print("    kubectl -n flywheel-storage port-forward service/postgres 5432 &")
    elif "AWS_ENDPOINT_URL" not in variables:
        print("  storage        yours: export AWS_…, FLYWHEEL_OBJECT_STORE and FLYWHEEL_LEDGER_URL")


if __name__ == "__main__":
    sys.exit(main())
