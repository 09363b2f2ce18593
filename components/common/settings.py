"""Where this process runs: the only module that reads the environment.

A component never knows whether it runs on a laptop or in a cluster; these settings do. Every default works
on a laptop without a server (SQLite, files); every variable is what a pod gets from its ConfigMap or Secret.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Addresses and folders of one process.

    Attributes:
        home: State folder of a laptop run (``FLYWHEEL_HOME``, default ``./.flywheel``).
        run_id: Id of the pipeline run this process belongs to (``FLYWHEEL_RUN_ID``), or empty.
        run_dir: Folder of that run on a laptop (``FLYWHEEL_RUN_DIR``), or None in a cluster.
        tracking_uri: MLflow tracking and registry (``MLFLOW_TRACKING_URI``).
        object_store: Root URI for models and data, ``file://`` or ``s3://`` (``FLYWHEEL_OBJECT_STORE``).
        ledger_url: SQLAlchemy URL of the ledger (``FLYWHEEL_LEDGER_URL``).
        s3_endpoint: URL of an S3 server other than AWS (``AWS_ENDPOINT_URL``), or empty.
        s3_access_key: ``AWS_ACCESS_KEY_ID``.
        s3_secret_key: ``AWS_SECRET_ACCESS_KEY``.
        s3_region: ``AWS_REGION``.
        pii_key: Secret key of pseudonyms and fakes (``FLYWHEEL_PII_KEY``), or empty.
        actor: Who acts, for audit events (``FLYWHEEL_ACTOR``, default the login name).
        mlflow_run_id: MLflow run that KFP opened for this step (``MLFLOW_RUN_ID``), or empty.
        pod_name: Pod of this step in a cluster (``KFP_POD_NAME``), or empty.
        pod_uid: Its uid (``KFP_POD_UID``).
    """

    home: Path
    run_id: str
    run_dir: Path | None
    tracking_uri: str = field(repr=False)
    object_store: str
    ledger_url: str = field(repr=False)
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    s3_region: str
    actor: str
    pii_key: str = field(default="", repr=False)
    mlflow_run_id: str = ""
    pod_name: str = ""
    pod_uid: str = ""

    @property
    def cache_dir(self) -> Path:
        """Folder for things that are expensive to make and safe to delete (base models, compiled caches)."""
        return self.home / "cache"

    @staticmethod
    def missing_in_pod() -> list[str]:
        """Variables that a pod lacks; empty outside Kubernetes and in a run that has a folder of its own.

        The defaults are files of one machine. In a pod they would end with the pod: a model, a registry entry or an
        audit event would be lost although the step is green.
        """
        env = os.environ
        if "KUBERNETES_SERVICE_HOST" not in env or env.get("FLYWHEEL_RUN_DIR"):
            return []
        needed = ("MLFLOW_TRACKING_URI", "FLYWHEEL_OBJECT_STORE", "FLYWHEEL_LEDGER_URL")
        return [name for name in needed if not env.get(name)]

    @classmethod
    def from_env(cls) -> "Settings":
        """Read the environment; every value has a default that works on a laptop."""
        env = os.environ
        home = Path(env.get("FLYWHEEL_HOME") or ".flywheel").expanduser().resolve()
        run_dir = env.get("FLYWHEEL_RUN_DIR")
        return cls(
            home=home,
            run_id=env.get("FLYWHEEL_RUN_ID", ""),
            run_dir=Path(run_dir) if run_dir else None,
            tracking_uri=env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}",
            object_store=(env.get("FLYWHEEL_OBJECT_STORE") or (home / "objects").as_uri()).rstrip("/"),
            ledger_url=env.get("FLYWHEEL_LEDGER_URL") or f"sqlite:///{home / 'ledger.db'}",
            s3_endpoint=env.get("AWS_ENDPOINT_URL", ""),
            s3_access_key=env.get("AWS_ACCESS_KEY_ID", ""),
            s3_secret_key=env.get("AWS_SECRET_ACCESS_KEY", ""),
            s3_region=env.get("AWS_REGION", "us-east-1"),
            actor=env.get("FLYWHEEL_ACTOR") or env.get("USER") or f"uid-{os.getuid()}",
            pii_key=env.get("FLYWHEEL_PII_KEY", ""),
            mlflow_run_id=env.get("MLFLOW_RUN_ID", ""),
            pod_name=env.get("KFP_POD_NAME", ""),
            pod_uid=env.get("KFP_POD_UID", ""),
        )
