"""The few calls of the Kubeflow Pipelines API (v2beta1) that a submission needs.

Made with ``kfp_server_api``, the generated client under ``kfp.Client``, and not with ``kfp.Client`` itself: its
constructor takes a namespace and cookies from ``~/.config/kfp``, asks a dead host five times with five-second pauses
while it logs tracebacks, knows no timeouts, and its methods print links on stdout.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.kfp_errors import SIGN_IN, clash, not_kfp, refusal, unreachable

TIMEOUTS_S = (5.0, 30.0)  # connect, read
UPLOAD_TIMEOUTS_S = (5.0, 120.0)


class Backend:
    """A KFP API server: a handful of typed calls, each of which fails fast with one `FlywheelError`.

    Args:
        host: Address, with or without ``https://``.
        token: Bearer token, or empty.
        verify_ssl: Whether the server's certificate must be valid.
        ca_cert: CA bundle (PEM), or empty.
        timeouts_s: Seconds to wait for a connection and for an answer.
    """

    def __init__(
        self,
        host: str,
        *,
        token: str = "",
        verify_ssl: bool = True,
        ca_cert: str | Path = "",
        timeouts_s: tuple[float, float] = TIMEOUTS_S,
    ) -> None:
        import kfp_server_api  # type: ignore[import-untyped]
        import urllib3

        self.host, self._token, self._timeouts = _address(host), _bearer(token), timeouts_s
        config = kfp_server_api.Configuration(host=self.host)
        config.verify_ssl = verify_ssl
        config.ssl_ca_cert = _ca_file(ca_cert)
        # A redirect is never followed: it would turn a POST into a GET, and it mostly leads to a login page.
        config.retries = urllib3.Retry(
            total=None, connect=0, read=0, redirect=0, status=0, other=0, raise_on_redirect=False
        )
        if not verify_ssl:
            # Asked for by the user, who needs to be told once, not at every request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if self._token:
            config.api_key["authorization"] = self._token
            config.api_key_prefix["authorization"] = "Bearer"
        client = kfp_server_api.ApiClient(config)
        self._api = kfp_server_api
        self._healthz = kfp_server_api.HealthzServiceApi(client)
        self._pipelines = kfp_server_api.PipelineServiceApi(client)
        self._uploads = kfp_server_api.PipelineUploadServiceApi(client)
        self._experiments = kfp_server_api.ExperimentServiceApi(client)
        self._runs = kfp_server_api.RunServiceApi(client)

    def multi_user(self) -> bool:
        """Whether the backend is healthy and separates its users by namespace."""
        answer, _, headers = self._call("ask for health", self._healthz.healthz_service_get_healthz_with_http_info)
        if "json" not in headers.get("content-type", ""):
            raise not_kfp(self.host, "it answers with a web page, not with JSON")
        return bool(answer.multi_user)

    def check_namespace(self, namespace: str) -> str:
        """``namespace``, if this backend needs it; "" if it has no namespaces and none was given."""
        if self.multi_user():
            if namespace:
                return namespace
            raise FlywheelError(
                "this Kubeflow has several users; a run belongs to one profile's namespace",
                where=self.host,
                fix="pass --namespace; kubectl get profiles shows them",
                reason="namespace",
            )
        if namespace:
            raise FlywheelError(
                f"this backend has a single user and no namespace {namespace!r}",
                where=self.host,
                fix="drop --namespace",
                reason="namespace",
            )
        return ""

    def pipeline(self, name: str, namespace: str) -> str:
        """Id of the pipeline ``name``, created when missing."""
        found = self._call(
            "list pipelines",
            self._pipelines.pipeline_service_list_pipelines,
            namespace=namespace or None,
            filter=_named(name),
        ).pipelines
        for pipeline in found or []:
            if pipeline.display_name == name:
                return str(pipeline.pipeline_id)
        # Created empty: an upload would call its first version like the pipeline, not by its content.
        body = self._api.V2beta1Pipeline(display_name=name, namespace=namespace or None)
        made = self._call(f"create pipeline {name!r}", self._pipelines.pipeline_service_create_pipeline, body)
        return self._id(made.pipeline_id)

    def version(self, pipeline_id: str, name: str, compiled: Path, content: bytes) -> str:
        """Id of the version ``name``, uploaded when missing; an existing one must hold the same pipeline."""
        found = self._call(
            "list versions",
            self._pipelines.pipeline_service_list_pipeline_versions,
            pipeline_id,
            filter=_named(name),
        ).pipeline_versions
        for version in found or []:
            if version.display_name == name:
                if version.pipeline_spec and not same_pipeline(content, version.pipeline_spec):
                    raise clash(f"version {name!r} exists with different content", self.host)
                return str(version.pipeline_version_id)
        made = self._call(
            f"upload version {name!r}",
            self._uploads.upload_pipeline_version,
            str(compiled),
            name=name,
            pipelineid=pipeline_id,
            _request_timeout=UPLOAD_TIMEOUTS_S,
        )
        return self._id(made.pipeline_version_id)

    def experiment(self, name: str, namespace: str) -> str:
        """Id of the experiment ``name``, created when missing."""
        found = self._call(
            "list experiments",
            self._experiments.experiment_service_list_experiments,
            namespace=namespace or None,
            filter=_named(name),
        ).experiments
        for experiment in found or []:
            if experiment.display_name == name:
                return str(experiment.experiment_id)
        body = self._api.V2beta1Experiment(display_name=name, namespace=namespace or None)
        made = self._call(f"create experiment {name!r}", self._experiments.experiment_service_create_experiment, body)
        return self._id(made.experiment_id)

    def run(self, name: str, experiment_id: str, pipeline_id: str, version_id: str, params: Mapping[str, Any]) -> str:
        """Id of a new run of a version with ``params``."""
        reference = self._api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)
        body = self._api.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=reference,
            runtime_config=self._api.V2beta1RuntimeConfig(parameters=dict(params)),
        )
        return self._id(self._call("start the run", self._runs.run_service_create_run, body).run_id)

    def _id(self, value: str | None) -> str:
        if not value:
            raise not_kfp(self.host, "its answer holds no id")
        return value

    def _call(self, doing: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from urllib3.exceptions import HTTPError

        try:
            return function(*args, **{"_request_timeout": self._timeouts, **kwargs})
        except self._api.ApiException as error:
            headers = {key.lower(): value for key, value in (error.headers or {}).items()}
            raise refusal(error.status, error.body or "", headers, doing, self.host, self._token) from None
        except HTTPError as error:
            raise unreachable(error, self.host) from None
        except UnicodeDecodeError:
            raise not_kfp(self.host, "its answer is no text") from None


def _named(name: str) -> str:
    # The numbers and keys of kubeflow/pipelines backend/api/v2beta1/filter.proto; 1 is EQUALS.
    return json.dumps({"predicates": [{"operation": 1, "key": "display_name", "stringValue": name}]})


def _address(host: str) -> str:
    address = host.strip()
    if address and "://" not in address:
        address = f"https://{address}"
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", address):
        raise FlywheelError(
            "not the address of a KFP API",
            where=repr(host),
            fix="pass --host https://HOST/pipeline, or kubectl port-forward -n kubeflow svc/ml-pipeline 8888 "
            "and --host http://localhost:8888",
            reason="host",
        )
    # A copied UI address works too: the page's own path is no part of the API's.
    return address.partition("/#")[0].rstrip("/")


def _bearer(token: str) -> str:
    token = re.sub(r"^bearer\s+", "", token.strip(), flags=re.IGNORECASE)
    if re.search(r"[^\x21-\x7e]", token):
        raise FlywheelError(
            "the token holds spaces, line breaks or other characters that no token has",
            fix=SIGN_IN,
            reason="token",
        )
    return token


def _ca_file(path: str | Path) -> str | None:
    if not str(path):
        return None
    if not Path(path).is_file():
        raise FlywheelError("no such CA file", where=str(path), fix="pass --ca-cert FILE.pem", reason="tls")
    return str(path)


def same_pipeline(content: bytes, stored: Mapping[str, Any]) -> bool:
    """Whether a compiled file and a version's ``pipeline_spec``, as the API returns it, are the same pipeline.

    Args:
        content: YAML: one document with the pipeline, and a second one with Kubernetes settings if there are any.
        stored: The pipeline, or a mapping with ``pipeline_spec`` and ``platform_spec``.
    """
    import yaml
    from google.protobuf import json_format  # type: ignore[import-untyped]
    from kfp.pipeline_spec import pipeline_spec_pb2

    documents = [*yaml.safe_load_all(content), {}][:2]
    other = [stored.get("pipeline_spec", stored), stored.get("platform_spec", {})]
    messages = (pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec)
    try:
        return all(
            json_format.ParseDict(ours or {}, message(), ignore_unknown_fields=True)
            == json_format.ParseDict(theirs or {}, message(), ignore_unknown_fields=True)
            for ours, theirs, message in zip(documents, other, messages, strict=True)
        )
    except json_format.ParseError:
        return False
