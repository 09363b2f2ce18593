"""Configuration of finetune (and of base_model, which prepares for it). Names are Axolotl's where the meaning is."""

from typing import Literal

from pydantic import Field, model_validator

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.common.config import Section


class SecretEnv(Section):
    """One environment variable of a training pod, taken from a Kubernetes Secret."""

    name: str = Field(description="Variable to set, such as AWS_ACCESS_KEY_ID.", pattern=r"[A-Za-z_][A-Za-z0-9_]*")
    secret: str = Field(description="Name of the Secret.", min_length=1)
    key: str = Field(description="Key inside the Secret.", min_length=1)


class ClusterJob(Section):
    """What a training job asks a cluster for."""

    namespace: str = Field("flywheel", description="Namespace of the job.", min_length=1)
    image: str = Field("", description="Trainer image; empty means the image that the pipeline was compiled with.")
    workers: int = Field(1, ge=1, le=512, description="Pods that train together.")
    cpu: str = Field("4", description="CPU request of a pod.", min_length=1)
    cpu_limit: str = Field("", description="CPU limit of a pod; empty means the request.")
    memory: str = Field("16Gi", description="Memory request and limit of a pod.")
    gpus: int = Field(0, ge=0, le=16, description="Accelerators of a pod.")
    gpu_resource: str = Field("nvidia.com/gpu", description="Resource name of an accelerator.")
    shared_memory: str = Field("2Gi", description="Size of /dev/shm.")
    volume_claim: str = Field("", description="PersistentVolumeClaim to mount read-only at /workspace, if any.")
    service_account: str = Field("flywheel-training", description="Service account of the pods.")
    priority_class: str = Field("", description="PriorityClass of the pods; not for a TrainJob, whose runtime has it.")
    runtime: str = Field("flywheel-torch", description="TrainingRuntime or ClusterTrainingRuntime of a TrainJob.")
    queue: str = Field("", description="Kueue LocalQueue; empty means none.")
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels a node must have.")
    tolerations: list[dict[str, str | int]] = Field(default_factory=list, description="Kubernetes tolerations.")
    storage_secret: str = Field("flywheel-storage", description="Secret with the credentials of the object storage.")
    settings_map: str = Field("flywheel-settings", description="ConfigMap with AWS_ENDPOINT_URL and AWS_REGION.")
    env: dict[str, str] = Field(default_factory=dict, description="Plain variables of the pods; no credentials.")
    env_from_secrets: list[SecretEnv] = Field(default_factory=list, description="More variables taken from Secrets.")
    ttl_seconds: int = Field(86_400, ge=0, description="Seconds a finished PyTorchJob is kept.")
    queue_timeout_seconds: int | None = Field(None, ge=1, description="Longest wait until all pods run.")
    run_timeout_seconds: int | None = Field(None, ge=1, description="Longest run of all pods.")
    start_timeout_seconds: int = Field(
        300, ge=1, description="Longest wait for a pod that cannot start: image, Secret or admission."
    )


class FinetuneConfig(Section):
    """Supervised fine-tuning of a base model on the train split, with LoRA or of all weights."""

    base_model: str = Field("tiny", min_length=1, description="tiny, a folder, s3:// or file:// URI, or a Hub id.")
    tiny_recipe: TinyRecipe = Field(default_factory=TinyRecipe, description="How the tiny base model is trained.")

    max_level: str = Field(
        "",
        description="Highest security level of data to train on (ingest.access.level); empty means data that is not "
        "classified, and the most open level.",
    )

    adapter: Literal["lora", ""] = Field("lora", description="lora, or empty to train all weights.")
    lora_r: int = Field(16, ge=1, le=512, description="Rank of the adapter.")
    lora_alpha: float = Field(32, gt=0, description="Scale of the adapter; its weight is alpha / r.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    lora_target_linear: bool = Field(True, description="Adapt every linear layer but the output layer.")
    lora_target_modules: list[str] = Field(default_factory=list, description="Or these modules only.")

    sequence_len: int = Field(512, ge=16, description="Longest example in tokens; longer ones are left out.")
    micro_batch_size: int = Field(16, ge=1, description="Examples per process and forward pass.")
    gradient_accumulation_steps: int = Field(1, ge=1, description="Forward passes per optimizer step.")
    num_epochs: float = Field(3.0, gt=0, description="Passes over the train split.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; overrides num_epochs.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate.")
    lr_scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Shape of the learning rate."
    )
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="Share of the steps spent warming up.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of probability spread over all tokens.")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on attention weights while training.")
    seed: int = Field(0, ge=0, description="Seed of adapter weights, order and dropout.")
    bf16: bool | Literal["auto"] = Field("auto", description="bfloat16 autocast; auto means where it is supported.")
    group_by_length: bool = Field(False, description="Put examples of similar length into one batch.")
    gradient_checkpointing: bool = Field(False, description="Trade time for memory.")
    logging_steps: int = Field(5, ge=1, description="Steps between progress lines.")
    evals_per_epoch: int = Field(1, ge=0, description="Validation losses per epoch; 0 means none.")

    launcher: Literal["local", "pytorchjob", "trainjob", "auto"] = Field(
        "local", description="Where training runs; auto means the kind of job that the cluster knows."
    )
    nproc_per_node: int = Field(1, ge=1, le=64, description="Training processes per machine or pod.")
    cluster: ClusterJob = Field(default_factory=ClusterJob, description="For a job on a cluster.")

    @model_validator(mode="after")
    def _adapter_has_targets(self) -> "FinetuneConfig":
        if self.adapter == "lora" and not self.lora_target_linear and not self.lora_target_modules:
            raise ValueError("lora_target_modules: name at least one module, or set lora_target_linear: true")
        if self.lora_target_linear and self.lora_target_modules:
            raise ValueError("lora_target_modules: set lora_target_linear: false to adapt only these")
        return self
