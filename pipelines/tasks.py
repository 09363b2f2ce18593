"""How a step runs in a cluster: image, resources, credentials, caching, retries, user."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section, bind, load_yaml
from llm_flywheel.components.common.images import CORE, TRAINER

# What `Settings` reads, by where it comes from.
CONFIG_KEYS = (
    "MLFLOW_TRACKING_URI",
    "FLYWHEEL_OBJECT_STORE",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "FLYWHEEL_ACTOR",
    "HF_ENDPOINT",
)
SECRET_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "FLYWHEEL_LEDGER_URL",
    "FLYWHEEL_PII_KEY",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "HF_TOKEN",
)
# A user id without an entry in the image's passwd has neither a home nor a name; some libraries insist on both.
POD_ENVIRONMENT = {"HOME": "/tmp", "USER": "flywheel", "FLYWHEEL_HOME": "/tmp/flywheel"}  # noqa: S108 - a pod's own
WORK_FOLDER = "/work"
"""Where the volume of `Profile.curate_claim` is mounted."""
RUN_ID_LABEL = "metadata.labels['pipeline/runid']"


class Resources(Section):
    """Requests and limits of one kind of step, as Kubernetes quantities."""

    cpu_request: str = "500m"
    cpu_limit: str = "2"
    memory_request: str = "1Gi"
    memory_limit: str = "4Gi"
    accelerator: str = Field(default="", description="resource name, such as nvidia.com/gpu; empty for none")
    accelerator_count: int = Field(default=0, ge=0)


class Profile(Section):
    """What ``flywheel compile --profile FILE`` may set; the pipeline itself stays the same.

    Attributes:
        core_image: Image of the data steps (no torch).
        trainer_image: Image of the steps that need torch, MLflow or a model server.
        core: Resources of the data steps.
        trainer: Resources of the training and evaluation steps.
        config_map: ConfigMap with addresses (`CONFIG_KEYS`); every key is optional.
        secret: Secret with credentials (`SECRET_KEYS`); every key is optional.
        run_as_user: UID of every step; images must work with it.
        retries: Tries after the first one, for steps that talk to the outside.
        curate_groups: Pods that curate large data at the same time; 0 for one step with all cores of its pod.
        curate_claim: PersistentVolumeClaim with access mode ReadWriteMany for their work in progress.
    """

    core_image: str = CORE
    trainer_image: str = TRAINER
    core: Resources = Resources()
    trainer: Resources = Resources(cpu_request="1", cpu_limit="8", memory_request="4Gi", memory_limit="16Gi")
    config_map: str = "flywheel-settings"
    secret: str = "flywheel-credentials"  # noqa: S105 - the name of a Secret, not a secret
    run_as_user: int = Field(default=1000, ge=1)
    retries: int = Field(default=2, ge=0, le=10)
    curate_groups: int = Field(default=0, ge=0, le=100)
    curate_claim: str = ""

    @model_validator(mode="after")
    def _groups_share_a_volume(self) -> Self:
        if self.curate_groups and not self.curate_claim:
            raise ValueError("curate_groups needs curate_claim, a PersistentVolumeClaim that all pods can mount")
        return self

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read a profile; raises FlywheelError with everything that is wrong."""
        return bind(cls, load_yaml(path), where=str(path))

    def pure(self, task: Any, *, train: bool = False) -> Any:
        """A step whose outputs depend on its inputs alone: cached."""
        return self._place(task, train).set_caching_options(True)

    def light(self, task: Any, *, train: bool = False) -> Any:
        """A step that decides or acts once: neither cached nor retried."""
        return self._place(task, train).set_caching_options(False)

    def outside(self, task: Any, *, train: bool = False) -> Any:
        """A step that talks to storage, a registry or a cluster: not cached, retried with growing pauses."""
        task = self.light(task, train=train)
        if self.retries:
            task.set_retry(self.retries, backoff_duration="5s", backoff_factor=2.0, backoff_max_duration="60s")
        return task

    def in_group(self, task: Any) -> Any:
        """A step that leaves files for the next one on the volume that they share."""
        from kfp import kubernetes

        return kubernetes.mount_pvc(self.outside(task), self.curate_claim, WORK_FOLDER)

    def _place(self, task: Any, train: bool) -> Any:
        from kfp import kubernetes

        resources = self.trainer if train else self.core
        task.set_container_image(self.trainer_image if train else self.core_image)
        task.set_cpu_request(resources.cpu_request).set_cpu_limit(resources.cpu_limit)
        task.set_memory_request(resources.memory_request).set_memory_limit(resources.memory_limit)
        if resources.accelerator and resources.accelerator_count:
            task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.accelerator_count)
        kubernetes.use_config_map_as_env(task, self.config_map, {key: key for key in CONFIG_KEYS}, optional=True)
        kubernetes.use_secret_as_env(task, self.secret, {key: key for key in SECRET_KEYS}, optional=True)
        for name, value in POD_ENVIRONMENT.items():
            task.set_env_variable(name, value)
        kubernetes.use_field_path_as_env(task, "FLYWHEEL_RUN_ID", RUN_ID_LABEL)
        kubernetes.set_security_context(task, run_as_user=self.run_as_user, run_as_non_root=True)
        return task


class LocalProfile(Profile):
    """For ``kfp.local``: a step inherits this machine's environment.

    Nothing is retried: a person is watching, and most failures of a laptop run are a setting to correct.
    """

    retries: int = 0

    def _place(self, task: Any, train: bool) -> Any:
        return task


DEFAULT_PROFILE = Profile()
