"""The flywheel: from raw files to a model that serves live traffic behind a canary.

One definition serves ``flywheel run`` (this machine), ``flywheel compile`` (YAML for CI) and ``flywheel submit``
(a Kubeflow Pipelines backend).
"""

from typing import Any

from kfp import dsl

from llm_flywheel.components.base_model.component import base_model as base_model_step
from llm_flywheel.components.curate.component import curate, curate_in_groups
from llm_flywheel.components.deploy.component import deploy
from llm_flywheel.components.evaluate.component import evaluate
from llm_flywheel.components.finetune.component import finetune
from llm_flywheel.components.finish.component import finish
from llm_flywheel.components.gate.component import gate
from llm_flywheel.components.ingest.component import ingest
from llm_flywheel.components.publish.component import publish
from llm_flywheel.components.rollout.component import rollout
from llm_flywheel.components.scan_pii.component import scan_pii
from llm_flywheel.components.stop_unless.component import stop_unless
from llm_flywheel.pipelines.bind_config import bind_config
from llm_flywheel.pipelines.tasks import DEFAULT_PROFILE, WORK_FOLDER, Profile

NAME = "llm-flywheel"


def build(profile: Profile = DEFAULT_PROFILE) -> Any:
    """The KFP pipeline, with images, resources and secrets as ``profile`` says.

    Args:
        profile: Where and how steps run in a cluster; ignored by the local runner.

    Returns:
        A kfp pipeline: compile it, or call it under ``kfp.local``.
    """

    @dsl.pipeline(name=NAME, description="Curate, scan PII, fine-tune, evaluate, publish and roll out an LLM.")  # type: ignore[untyped-decorator]
    def flywheel(
        config: dict,  # type: ignore[type-arg]
        data: list = [],  # type: ignore[type-arg]  # noqa: B006 - kfp reads the default, nobody mutates it
        holdout: list = [],  # type: ignore[type-arg]  # noqa: B006
        base_model: str = "",
        model_name: str = "",
    ) -> None:
        """Run the flywheel once.

        Args:
            config: Run configuration, as in ``pipelines/configs/*.yaml``.
            data: Training data paths or URIs; replaces ``ingest.paths``.
            holdout: Held-out data paths or URIs; replaces ``ingest.holdout_paths``.
            base_model: Base model reference; replaces ``finetune.base_model``.
            model_name: Registered model name; replaces ``publish.model_name``.
        """
        end = profile.light(finish(pipeline=NAME))
        with dsl.ExitHandler(end, name="flywheel"):
            bound = profile.light(
                bind_config(config=config, data=data, holdout=holdout, base_model=base_model, model_name=model_name)
            )
            section = bound.outputs

            # What reads the outside world is never cached: a path's content may have changed.
            raw = profile.outside(ingest(config=section["ingest"]))
            scanned = profile.pure(scan_pii(config=section["scan_pii"], dataset=raw.outputs["dataset"]))
            clean = profile.light(
                stop_unless(passed=scanned.outputs["passed"], reason=scanned.outputs["reason"], check="scan_pii")
            )
            masked = scanned.outputs["masked"]
            if profile.curate_groups:
                curated = curate_in_groups(
                    section["curate"], masked, WORK_FOLDER, profile.curate_groups, prepare=profile.in_group, after=clean
                )
            else:
                curated = profile.pure(curate(config=section["curate"], dataset=masked).after(clean))
            dataset = curated.outputs["curated"]

            base = profile.pure(base_model_step(config=section["finetune"], dataset=dataset), train=True)
            tuned = profile.pure(
                finetune(config=section["finetune"], dataset=dataset, base=base.outputs["model"]), train=True
            )
            before = profile.pure(
                evaluate(
                    config=section["evaluate"],
                    model=base.outputs["model"],
                    base=base.outputs["model"],
                    dataset=dataset,
                    label="base",
                ),
                train=True,
            ).set_display_name("evaluate-base")
            after = profile.pure(
                evaluate(
                    config=section["evaluate"],
                    model=tuned.outputs["model"],
                    base=base.outputs["model"],
                    dataset=dataset,
                    label="tuned",
                ),
                train=True,
            ).set_display_name("evaluate-tuned")
            decided = profile.light(
                gate(
                    config=section["gate"],
                    base_results=before.outputs["results"],
                    tuned_results=after.outputs["results"],
                )
            )

            with dsl.If(decided.outputs["passed"] == True, name="publish-and-roll-out"):  # noqa: E712 - kfp builds this
                published = profile.outside(
                    publish(
                        config=section["publish"],
                        model=tuned.outputs["model"],
                        base=base.outputs["model"],
                        dataset=dataset,
                        tuned_results=after.outputs["results"],
                        decision=decided.outputs["decision"],
                    ),
                    train=True,
                )
                deployed = profile.outside(
                    deploy(
                        config=section["deploy"], name=published.outputs["name"], version=published.outputs["version"]
                    ),
                    train=True,
                )
                # A retry goes on with what was seen before it. Not in an `If` of its own, for the case that nothing was
                # deployed: kfp.local 2.17 never runs an `If` inside an `If`.
                profile.outside(
                    rollout(
                        config=section["rollout"],
                        endpoint=deployed.outputs["endpoint"],
                        name=published.outputs["name"],
                        version=published.outputs["version"],
                        dataset=dataset,
                    ),
                    train=True,
                )
            with dsl.Else(name="stop"):
                profile.light(stop_unless(passed=False, reason=decided.outputs["reason"], check="gate"))

    return flywheel
