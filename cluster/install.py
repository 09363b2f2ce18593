"""Brings what the flywheel needs into a cluster: parts that are missing, then our own manifests and settings."""

import json
import secrets
import sysconfig
import time
from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path

from llm_flywheel.cluster.images import program_image
from llm_flywheel.cluster.node import LocalNode, kubectl
from llm_flywheel.cluster.parts import GATEWAY, MINIO, PARTS, STORAGE_SECRET, Body, Part, kustomize
from llm_flywheel.cluster.pki import kubeconfig
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_secret

ROOT = Path(__file__).parent.parent
NAMESPACE = "flywheel"
PIPELINE = "flywheel-pipeline"
TOKEN_HOURS = 24
_RECORD = {"name": "flywheel-parts", "namespace": "kube-system"}
_ROLLOUT_S = 300
_IN_PLACE_OF = {
    "docker.io/library/postgres:15-bookworm": "localhost/flywheel/postgres:15",
    "docker.io/library/debian:bookworm-slim": "localhost/flywheel/trainer:test",
}


class Installer:
    """Installs into one cluster.

    Args:
        program: kubectl.
        admin: Kubeconfig with admin rights.
        programs: Built programs, for the images of a node of our own.
        node: That node, or None for a cluster that pulls its images itself.
        cache: Folder for image archives.
    """

    def __init__(
        self, program: Path, admin: Path, programs: dict[str, Path], node: LocalNode | None, cache: Path
    ) -> None:
        self._program, self._admin, self._programs = program, admin, programs
        self._node, self._cache = node, cache

    def run(self) -> None:
        """Install what is missing, apply our manifests, wait until all of it runs.

        Raises:
            FlywheelError: The cluster refuses something, or a part does not come up.
        """
        self._import_images()
        missing = self._missing()
        self._record(missing)
        for part in missing:
            print(f"installing {part.name}", flush=True)
            if part.name.startswith("MinIO"):
                self._apply(self._storage_secrets())
            self._apply_retried(self._pullable(part.bodies(self._program)))
        for part in missing:
            self._wait(part.wait)
        if self._node is not None:
            self._manifests("overlays/local")
        elif not self._present(("servingruntime", f"--namespace={NAMESPACE}", "flywheel-vllm")):
            self._manifests("overlays/trainjob")
        if not self._present(STORAGE_SECRET):
            self._apply(self._settings())
        self._record([])

    def environment(self) -> dict[str, str]:
        """How this machine reaches object storage and ledger, as variables by name; none where they are not ours."""
        if not self._present(MINIO):
            return {}
        keys = self._secret("flywheel-storage", "minio")
        ledger = self._secret("flywheel-storage", "postgres")
        user, password, name = (ledger[f"POSTGRES_{key}"] for key in ("USER", "PASSWORD", "DB"))
        address = self._address("postgres")
        return {
            "AWS_ENDPOINT_URL": f"http://{self._address('minio')}:9000",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": keys["MINIO_ROOT_USER"],
            "AWS_SECRET_ACCESS_KEY": keys["MINIO_ROOT_PASSWORD"],
            "FLYWHEEL_OBJECT_STORE": "s3://flywheel",
            "FLYWHEEL_LEDGER_URL": f"postgresql+psycopg://{user}:{password}@{address}:5432/{name}",
        }

    def pipeline_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig with a token of the ``flywheel-pipeline`` account."""
        token = self._kubectl("create", "token", PIPELINE, f"--namespace={NAMESPACE}", f"--duration={TOKEN_HOURS}h")
        config = json.loads(self._kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        cluster = config["clusters"][0]["cluster"]
        authority = b64decode(cluster.get("certificate-authority-data", ""))
        write_secret(path, kubeconfig(cluster["server"], authority, PIPELINE, {"token": token.strip()}, NAMESPACE))

    def gateway_url(self) -> str:
        """Address of the Gateway, or empty while it has none."""
        found = self._kubectl(
            "get", "gateway", GATEWAY["name"], f"--namespace={GATEWAY['namespace']}", "--ignore-not-found", "-o", "json"
        )
        if not found:
            return ""
        body = json.loads(found)
        addresses = body.get("status", {}).get("addresses") or []
        return f"http://{addresses[0]['value']}:{body['spec']['listeners'][0]['port']}" if addresses else ""

    def _pullable(self, bodies: list[Body]) -> list[Body]:
        """On a node without a registry, the images that we made in place of those that others publish."""
        if self._node is None:
            return bodies
        text = json.dumps(bodies)
        for published, ours in _IN_PLACE_OF.items():
            text = text.replace(published, ours)
        return list(json.loads(text))

    def _missing(self) -> list[Part]:
        """Parts that the cluster lacks, or that an earlier try of ours began and did not finish."""
        begun = self._kubectl(
            "get", "configmap", _RECORD["name"], f"--namespace={_RECORD['namespace']}", "--ignore-not-found", "-o",
            "jsonpath={.data.parts}",
        ).split(";")  # fmt: skip
        return [part for part in PARTS if part.name in begun or not any(map(self._present, part.present))]

    def _present(self, what: tuple[str, ...]) -> bool:
        try:
            return bool(self._kubectl("get", *what, "--ignore-not-found", "-o", "name"))
        except FlywheelError as error:
            if "doesn't have a resource type" in error.what:
                return False
            raise

    def _record(self, parts: Iterable[Part]) -> None:
        data = {"parts": ";".join(part.name for part in parts)}
        self._apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": _RECORD, "data": data}])

    def _apply(self, bodies: list[Body]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        self._kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)

    def _apply_retried(self, bodies: list[Body]) -> None:
        """CRDs and namespaces first; the rest as soon as the webhooks that look at it answer."""
        first = [body for body in bodies if body["kind"] in ("Namespace", "CustomResourceDefinition")]
        if first:
            self._apply(first)
        rest = [body for body in bodies if body not in first]
        deadline = time.monotonic() + _ROLLOUT_S
        while rest:
            try:
                self._apply(rest)
                return
            except FlywheelError as error:
                waiting = ("failed calling webhook", "no matches for kind", "no endpoints available")
                if time.monotonic() > deadline or not any(text in error.what for text in waiting):
                    raise
                time.sleep(2)

    def _wait(self, deployments: Iterable[str]) -> None:
        for item in deployments:
            namespace, name = item.split("/")
            print(f"waiting for {item}", flush=True)
            self._kubectl(
                "rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={_ROLLOUT_S}s"
            )

    def _import_images(self) -> None:
        """Give a node without a registry the images of all parts, and those that `manifests/images` made."""
        if self._node is None:
            return
        known = self._node.images()
        for part in PARTS:
            for name, (path, program) in part.images.items():
                if name not in known:
                    archive = self._cache / "programs" / f"{self._programs[program].name}.tar"
                    if not archive.exists():
                        program_image(archive, name, {path: self._programs[program]}, [path])
                    self._node.import_image(archive)
        for archive in sorted(self._cache.glob("*.tar")):
            self._node.import_image(archive)  # again when it was built again

    def _storage_secrets(self) -> list[Body]:
        """Credentials of MinIO and PostgreSQL, made up once."""
        namespace = "flywheel-storage"
        made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}]
        values = {
            "minio": {"MINIO_ROOT_USER": "flywheel", "MINIO_ROOT_PASSWORD": secrets.token_urlsafe(24)},
            "postgres": {
                "POSTGRES_USER": "flywheel",
                "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
                "POSTGRES_DB": "flywheel",
            },
        }
        for name, data in values.items():
            if not self._kubectl("get", "secret", name, f"--namespace={namespace}", "--ignore-not-found", "-o", "name"):
                meta = {"name": name, "namespace": namespace}
                made.append({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data})
        return made

    def _settings(self) -> list[Body]:
        """The Secret and the ConfigMap through which pods reach the object storage."""
        keys = self._secret("flywheel-storage", "minio")
        endpoint = "minio.flywheel-storage.svc.cluster.local:9000"
        annotations = {"s3-endpoint": endpoint, "s3-usehttps": "0", "s3-region": "us-east-1"}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "flywheel-storage",
                "namespace": NAMESPACE,
                "annotations": {f"serving.kserve.io/{key}": value for key, value in annotations.items()},
            },
            "stringData": {
                "AWS_ACCESS_KEY_ID": keys["MINIO_ROOT_USER"],
                "AWS_SECRET_ACCESS_KEY": keys["MINIO_ROOT_PASSWORD"],
            },
        }
        meta = {"name": "flywheel-settings", "namespace": NAMESPACE}
        data = {"AWS_ENDPOINT_URL": f"http://{endpoint}", "AWS_REGION": "us-east-1"}
        return [secret, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}]

    def _manifests(self, name: str) -> None:
        """Apply our manifests, with this machine's Python environment where the local overlay has a placeholder."""
        print(f"applying manifests/{name}", flush=True)
        bodies = kustomize(self._program, ROOT / "manifests" / name)
        for body in bodies:
            if body["kind"] == "PersistentVolume" and "hostPath" in body["spec"]:
                body["spec"]["hostPath"]["path"] = sysconfig.get_paths()["purelib"]
        self._apply_retried(bodies)

    def _secret(self, namespace: str, name: str) -> dict[str, str]:
        found = self._kubectl("get", "secret", name, f"--namespace={namespace}", "-o", "json")
        return {key: b64decode(value).decode() for key, value in json.loads(found)["data"].items()}

    def _address(self, service: str) -> str:
        """Where this machine reaches a storage service: its cluster IP on our own node, else a port-forward."""
        if self._node is None:
            return "127.0.0.1"
        query = "jsonpath={.spec.clusterIP}"
        return self._kubectl("get", "service", service, "--namespace=flywheel-storage", "-o", query)

    def _kubectl(self, *argv: str, text: str | None = None) -> str:
        return kubectl(self._program, self._admin, *argv, text=text)
