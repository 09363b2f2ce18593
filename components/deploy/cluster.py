"""Deploy to a cluster: InferenceServices behind its Gateway, our gateway in front, both asked before traffic comes."""

from collections.abc import Mapping

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.local import Running, run_dir_of, smoke_test, write_endpoint
from llm_flywheel.components.deploy.versions import Registered
from llm_flywheel.serving.inference_service.address import Address, address
from llm_flywheel.serving.inference_service.build import PART_OF, VERSION_LABEL, split_of
from llm_flywheel.serving.inference_service.client import apply_service, wait_reached
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.inference_service.route import canary_taken_back
from llm_flywheel.serving.local.gateway import Upstream, start_gateway
from llm_flywheel.serving.local.processes import reap
from llm_flywheel.serving.rollout.plan import weights_for


def serve_in_cluster(
    config: DeployConfig,
    name: str,
    models: Mapping[str, Registered],
    spec: ServiceSpec,
    settings: Settings,
    cluster: Cluster | None = None,
) -> Running:
    """Bring a service into the cluster, ask both variants, and write ``endpoint.json``.

    The canary of a pair gets no traffic but what asks for it: its share is the rollout's, which watches it. On a
    failure, also for Ctrl-C, the canary is removed again, with all traffic on stable.

    Args:
        config: Smoke test, port, patience.
        name: Registered model; the route of our gateway.
        models: Versions by variant.
        spec: The service.
        settings: The run: its folder, its ledger.
        cluster: Where to; default: the cluster of the environment.

    Raises:
        FlywheelError: There is no run folder, the cluster refuses, or a variant does not get ready or answer.
    """
    run_dir = run_dir_of(settings, "cluster")
    cluster = cluster or Cluster()
    pair = split_of(spec) == "pair"
    if pair:
        spec = spec.model_copy(update={"canary_percent": 0})
    reap(run_dir, "")
    try:
        apply_service(spec, cluster, timeout_s=config.runtime.startup_timeout_s)
        with canary_taken_back(spec, cluster):
            where = address(cluster, spec)
            for variant, model in models.items() if pair else ():
                wait_reached(where, {model.version}, variant)
            wait_reached(where, {model.version for model in models.values()})
            upstreams = _upstreams(where, name, models)
            gateway, process = start_gateway(
                name, upstreams, settings=settings, run_dir=run_dir, run_id=settings.run_id, port=config.port,
                split_by="router",
            )  # fmt: skip
            # Only our own route can be asked for a variant.
            answers = {variant or "any": smoke_test(gateway, variant, config) for variant in (models if pair else [""])}
            pids, pods = {"gateway": process.record.pid}, _pods(cluster, spec, models)
            running = Running(gateway, upstreams, pids, weights_for(spec.canary_percent), answers, where, pods)
            write_endpoint(running, name, models, settings, config.smoke_prompt, spec)
    except BaseException:
        reap(run_dir, "")
        raise
    return running


def _upstreams(where: Address, name: str, models: Mapping[str, Registered]) -> dict[str, Upstream]:
    return {variant: Upstream(where.url, name, model.version, host=where.host) for variant, model in models.items()}


def _pods(cluster: Cluster, spec: ServiceSpec, models: Mapping[str, Registered]) -> dict[str, list[str]]:
    found = cluster.items("v1", "Pod", spec.namespace, labelSelector=f"{PART_OF}={spec.name}")
    return {
        variant: [
            pod["metadata"]["name"] for pod in found if pod["metadata"]["labels"].get(VERSION_LABEL) == model.version
        ]
        for variant, model in models.items()
    }
