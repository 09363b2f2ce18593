"""The ``flywheel`` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_flywheel.components.common.config import apply_overrides, bind, load_yaml
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings

Arguments = argparse.Namespace
if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's error is one message on stderr and exit status 2.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` when not given.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
        return status
    except FlywheelError as error:
        print(f"flywheel: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader (head, less) went away; Python would complain again while it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(f"flywheel: {error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flywheel", description="Curate, scan PII, fine-tune, evaluate, publish and roll out an LLM."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_run, _add_compile, _add_submit, _add_serve, _add_down, _add_rollout, _add_audit, _add_pii):
        add(commands)
    _add_data(commands)
    _add_dashboard(commands)
    _add_doctor(commands)
    return parser


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="run configuration, such as pipelines/configs/quickstart.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. gate.min_gain=0.1"
    )
    parser.add_argument(
        "--data", action="append", default=[], metavar="PATH", help="training data instead of ingest.paths"
    )
    parser.add_argument("--holdout", action="append", default=[], metavar="PATH", help="held-out data, used as it is")
    parser.add_argument("--base-model", default="", metavar="REF", help="instead of finetune.base_model")
    parser.add_argument("--model-name", default="", metavar="NAME", help="instead of publish.model_name")


def _add_run(commands: "Commands") -> None:
    parser = commands.add_parser("run", help="run the whole pipeline on this machine")
    _config_arguments(parser)
    parser.add_argument("--keep", action="store_true", help="leave the model server and the gateway running")
    parser.set_defaults(command=_run)


def _merged(arguments: Arguments) -> dict[str, Any]:
    from llm_flywheel.pipelines.bind import merge

    return merge(
        apply_overrides(load_yaml(arguments.config), arguments.set),
        data=arguments.data,
        holdout=arguments.holdout,
        base_model=arguments.base_model,
        model_name=arguments.model_name,
    )


def _run(arguments: Arguments) -> int:
    from llm_flywheel.pipelines.bind import plain
    from llm_flywheel.pipelines.config import RunConfig

    config = bind(RunConfig, _merged(arguments), where=str(arguments.config), check_files=True)
    # Only now: importing the runner takes seconds, and a wrong config should be told at once.
    from llm_flywheel.pipelines import local, summary

    settings = Settings.from_env()
    result = local.run(config.name, plain(config), settings=settings, keep=arguments.keep)
    summary.show(result, settings, kept=arguments.keep and result.status == local.OK)
    return result.status


def _add_compile(commands: "Commands") -> None:
    parser = commands.add_parser("compile", help="compile the pipeline to YAML for a KFP backend")
    parser.add_argument("-o", "--output", type=Path, default=None, help="default: pipelines/compiled/flywheel.yaml")
    parser.add_argument("--profile", type=Path, help="YAML with images, resources, Secret and ConfigMap names")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. core_image=…@sha256:…")
    parser.add_argument("--check", action="store_true", help="only compare with the compiled file; status 2 if stale")
    parser.set_defaults(command=_compile)


def _compile(arguments: Arguments) -> int:
    from llm_flywheel.pipelines import compile as compiler
    from llm_flywheel.pipelines.tasks import Profile

    values = load_yaml(arguments.profile) if arguments.profile else {}
    profile = bind(Profile, apply_overrides(values, arguments.set), where=str(arguments.profile or "profile"))
    path = arguments.output or compiler.COMPILED
    if arguments.check:
        compiler.check(path, profile)
        print(f"{path} is up to date")
    else:
        compiler.compile_to(path, profile)
        print(f"wrote {path}")
    return 0


def _add_submit(commands: "Commands") -> None:
    parser = commands.add_parser("submit", help="upload the compiled pipeline to a KFP API and start a run")
    _config_arguments(parser)
    parser.add_argument("--host", default=os.environ.get("KFP_HOST", ""), help="KFP API address (or KFP_HOST)")
    parser.add_argument("--token-file", type=Path, help="file with a bearer token (or KFP_TOKEN)")
    parser.add_argument("--namespace", default="", help="profile namespace of a multi-user Kubeflow")
    parser.add_argument("--experiment", default="Default")
    parser.add_argument("--pipeline-name", default="llm-flywheel")
    parser.add_argument("--ca-cert", default="", help="CA bundle of the API's certificate")
    parser.add_argument("--profile", type=Path, help="as for flywheel compile")
    parser.set_defaults(command=_submit)


def _submit(arguments: Arguments) -> int:
    from llm_flywheel.pipelines.bind import plain, problems_in_cluster
    from llm_flywheel.pipelines.config import RunConfig

    if not arguments.host:
        raise FlywheelError("no KFP API address", fix="pass --host https://… or export KFP_HOST", reason="host")
    config = bind(RunConfig, _merged(arguments), where=str(arguments.config))
    problems = problems_in_cluster(config)
    if problems:
        text = "\n  ".join(["this configuration cannot run in a cluster", *problems])
        raise FlywheelError(text, where=str(arguments.config), fix="--set KEY=VALUE", reason="place")
    import tempfile

    from llm_flywheel.pipelines import compile as compiler
    from llm_flywheel.pipelines.submit import submit
    from llm_flywheel.pipelines.tasks import Profile

    profile = Profile.load(arguments.profile) if arguments.profile else Profile()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flywheel.yaml"
        compiler.compile_to(path, profile)
        submitted = submit(
            path,
            run_name=config.name,
            params={"config": plain(config)},
            host=arguments.host,
            token=_token(arguments.token_file),
            namespace=arguments.namespace,
            experiment=arguments.experiment,
            pipeline_name=arguments.pipeline_name,
            ca_cert=arguments.ca_cert,
        )
    print(f"run {submitted.run_id} of pipeline version {submitted.version_id} started\n{submitted.url}")
    return 0


def _token(path: Path | None) -> str:
    if path is None:
        return os.environ.get("KFP_TOKEN", "")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FlywheelError(f"cannot read the token: {error}", where=str(path), reason="token") from None


def _add_serve(commands: "Commands") -> None:
    parser = commands.add_parser("serve", help="serve a registered model on this machine until Ctrl-C")
    parser.add_argument("model", help="registered model name")
    parser.add_argument("--version", default="", help="default: the champion, else the newest version")
    parser.add_argument("--port", type=int, default=0, help="gateway port; 0 picks a free one")
    parser.set_defaults(command=_serve)


def _serve(arguments: Arguments) -> int:
    from llm_flywheel.pipelines.serve import serve

    return serve(arguments.model, arguments.version, arguments.port, Settings.from_env())


def _add_down(commands: "Commands") -> None:
    parser = commands.add_parser("down", help="stop what a run with --keep left running")
    parser.add_argument("run", nargs="?", default="", help="run id; all runs when not given")
    parser.set_defaults(command=_down)


def _down(arguments: Arguments) -> int:
    from llm_flywheel.serving.local.processes import reap

    runs = Settings.from_env().home / "runs"
    folders = [runs / arguments.run] if arguments.run else sorted(runs.glob("*"))
    if arguments.run and not folders[0].is_dir():
        raise FlywheelError("no such run", where=arguments.run, fix=f"ls {runs}", reason="missing")
    ended = sum(len(reap(folder, folder.name)) for folder in folders)
    print(f"ended {ended} processes")
    return 0


def _add_rollout(commands: "Commands") -> None:
    parser = commands.add_parser("rollout", help="work with rollout decisions")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    replay = actions.add_parser("replay", help="recompute a stored decision from its evidence")
    replay.add_argument("evidence", type=Path, help="evidence file, or a run id for the evidence of that run")
    replay.set_defaults(command=_replay)
    resume = actions.add_parser("resume", help="go on with a rollout whose controller has died")
    resume.add_argument("run", type=Path, help="folder of the run, or its id")
    resume.set_defaults(command=_resume)


def _replay(arguments: Arguments) -> int:
    from llm_flywheel.pipelines.replay import replay

    return replay(arguments.evidence, Settings.from_env())


def _resume(arguments: Arguments) -> int:
    from llm_flywheel.pipelines.resume import resume

    return resume(arguments.run, Settings.from_env())


def _add_audit(commands: "Commands") -> None:
    parser = commands.add_parser("audit", help="work with the audit log")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="check the hash chain of every audit event")
    verify.set_defaults(command=_audit_verify)


def _audit_verify(arguments: Arguments) -> int:
    from llm_flywheel.serving.ledger.ledger import verify

    verdict = verify(Settings.from_env())
    if verdict.ok:
        print(f"ok: {verdict.events} audit events, chain unbroken")
        return 0
    print(f"BROKEN at event {verdict.first_bad_seq}: {verdict.reason}", file=sys.stderr)
    return 1


def _add_pii(commands: "Commands") -> None:
    from llm_flywheel.pipelines.cli_pii import add_commands

    parser = commands.add_parser("pii", help="find or mask personal data in a file")
    add_commands(parser.add_subparsers(metavar="ACTION", required=True))


def _add_data(commands: "Commands") -> None:
    from llm_flywheel.pipelines.cli_data import add_commands

    parser = commands.add_parser("data", help="list dataset versions, or say what changed between two")
    add_commands(parser.add_subparsers(metavar="ACTION", required=True))


def _add_dashboard(commands: "Commands") -> None:
    parser = commands.add_parser("dashboard", help="open the operations dashboard")
    parser.add_argument("--port", type=int, default=8501)
    parser.set_defaults(command=_dashboard)


def _dashboard(arguments: Arguments) -> int:
    from llm_flywheel.dashboard.serve import main as serve_dashboard

    serve_dashboard(Settings.from_env(), arguments.port)
    return 0


def _add_doctor(commands: "Commands") -> None:
    parser = commands.add_parser("doctor", help="say what is missing for a target, and the command that fixes it")
    parser.add_argument("--target", choices=["local", "cluster", "kubeflow"], default="local")
    parser.add_argument("--host", default=os.environ.get("KFP_HOST"), help="KFP API address, for --target kubeflow")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: Arguments) -> int:
    from llm_flywheel.pipelines.doctor import main as doctor

    token = os.environ.get("KFP_TOKEN", "")
    return doctor(arguments.target, arguments.as_json, arguments.host, Settings.from_env(), token=token)


if __name__ == "__main__":
    sys.exit(main())
