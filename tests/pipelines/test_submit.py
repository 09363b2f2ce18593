"""Submissions against a server that speaks the KFP v2beta1 REST contract (conftest.py)."""

import base64
import datetime
import json
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from kfp import compiler, dsl, kubernetes

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.compile import COMPILED
from llm_flywheel.pipelines.kfp_backend import Backend
from llm_flywheel.pipelines.kfp_errors import refusal
from llm_flywheel.pipelines.submit import Submitted, submit

TOKEN = "s3cr3t.t0ken"


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def greet(config: dict, times: int):
    print(config, times)


def compiled(path: Path, times: int = 3) -> Path:
    @dsl.pipeline(name="small")
    def small(config: dict, model_name: str = "", times: int = times):
        task = greet(config=config, times=times).set_retry(2)
        kubernetes.use_secret_as_env(task, "credentials", {"KEY": "KEY"}, optional=True)

    compiler.Compiler().compile(small, str(path))
    return path


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("compiled") / "small.yaml")


def send(host: str, path: Path, params: dict | None = None, **options) -> Submitted:
    return submit(path, "quickstart", {"config": {"seed": 7}} if params is None else params, host=host, **options)


def refused(host: str, path: Path, params: dict | None = None, **options) -> FlywheelError:
    with pytest.raises(FlywheelError) as caught:
        send(host, path, params, **options)
    return caught.value


def test_starts_a_run_with_the_parameters(kfp, pipeline):
    submitted = send(kfp.url, pipeline)

    (run,) = kfp.runs
    assert run["display_name"] == "quickstart"
    assert run["runtime_config"]["parameters"] == {"config": {"seed": 7}}
    assert submitted == Submitted(
        run_id=run["run_id"],
        pipeline_id=run["pipeline_version_reference"]["pipeline_id"],
        version_id=run["pipeline_version_reference"]["pipeline_version_id"],
        url=f"{kfp.url}/#/runs/details/{run['run_id']}",
    )
    assert [row["display_name"] for row in kfp.experiments.values()] == ["Default"]


def test_same_content_is_uploaded_once(kfp, pipeline):
    first, second = send(kfp.url, pipeline), send(kfp.url, pipeline)

    assert (first.pipeline_id, first.version_id) == (second.pipeline_id, second.version_id)
    assert (len(kfp.pipelines), len(kfp.versions), len(kfp.experiments), len(kfp.runs)) == (1, 1, 1, 2)


def test_changed_content_is_a_second_version_of_the_same_pipeline(kfp, pipeline, tmp_path):
    first, second = send(kfp.url, pipeline), send(kfp.url, compiled(tmp_path / "small.yaml", times=4))

    assert first.pipeline_id == second.pipeline_id
    assert first.version_id != second.version_id
    assert len(kfp.pipelines) == 1


@pytest.mark.skipif(not COMPILED.exists(), reason="pipelines/compiled/flywheel.yaml is not compiled yet")
def test_the_flywheel_itself_is_accepted_twice(kfp):
    first, second = send(kfp.url, COMPILED), send(kfp.url, COMPILED)

    assert first.version_id == second.version_id
    assert len(kfp.runs) == 2


def test_prints_nothing_and_leaves_the_home_folder_alone(kfp, pipeline, capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    send(kfp.url, pipeline)

    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_copied_ui_address_works(kfp, pipeline):
    assert send(f"{kfp.url}/#/pipelines", pipeline).url.startswith(f"{kfp.url}/#/runs/details/")


# Names


def test_a_name_taken_by_a_pipeline_out_of_sight_is_a_clash(kfp, pipeline):
    kfp.hidden_pipelines.add("llm-flywheel")

    error = refused(kfp.url, pipeline)

    assert error.reason == "clash"
    assert "The name llm-flywheel already exist" in str(error)
    assert "--pipeline-name" in error.fix
    assert kfp.runs == []


def test_old_backends_report_a_clash_as_an_internal_error():
    error = refusal(500, '{"error_message": "The name small already exist."}', {}, "create", "http://kfp")

    assert error.reason == "clash"


def test_a_version_of_that_name_with_other_content_is_a_clash(kfp, pipeline):
    send(kfp.url, pipeline)
    (version,) = kfp.versions.values()
    version["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] = "another"

    error = refused(kfp.url, pipeline)

    assert error.reason == "clash"
    assert version["name"] in str(error)
    assert len(kfp.runs) == 1


def test_a_pipeline_that_differs_in_case_is_not_taken_for_ours(kfp, pipeline):
    send(kfp.url, pipeline, pipeline_name="Flywheel")

    assert refused(kfp.url, pipeline, pipeline_name="flywheel").reason == "clash"
    assert len(kfp.runs) == 1


def test_a_pipeline_name_that_no_backend_takes(kfp, pipeline):
    assert refused(kfp.url, pipeline, pipeline_name="x" * 120).reason == "pipeline"
    assert kfp.requests == []


# Namespaces


def test_a_multi_user_backend_needs_a_namespace(kfp, pipeline):
    kfp.multi_user = True

    error = refused(kfp.url, pipeline)

    assert error.reason == "namespace"
    assert "--namespace" in error.fix


def test_the_namespace_holds_pipeline_and_experiment(kfp, pipeline):
    kfp.multi_user = True

    send(kfp.url, pipeline, namespace="team-a")
    send(kfp.url, pipeline, namespace="team-a")

    assert [row["namespace"] for row in kfp.pipelines.values()] == ["team-a"]
    assert [row["namespace"] for row in kfp.experiments.values()] == ["team-a"]


def test_a_single_user_backend_has_no_namespace(kfp, pipeline):
    assert refused(kfp.url, pipeline, namespace="team-a").fix == "drop --namespace"


def test_a_forbidden_namespace_is_no_expired_token(kfp, pipeline):
    kfp.multi_user, kfp.token = True, TOKEN
    kfp.forbidden_namespaces.add("team-b")

    error = refused(kfp.url, pipeline, namespace="team-b", token=TOKEN)

    assert error.reason == "forbidden"
    assert "not authorized in namespace team-b" in str(error)


def test_the_upload_handler_reports_a_refused_account_as_a_bad_request():
    body = '{"error_message": "pipeline upload denied: permission to create pipelines.pipelines.kubeflow.org"}'

    assert refusal(400, body, {}, "upload", "http://kfp").reason == "forbidden"


# Tokens


def test_the_right_token_is_accepted_with_and_without_its_scheme(kfp, pipeline):
    kfp.token = TOKEN

    send(kfp.url, pipeline, token=TOKEN)
    send(kfp.url, pipeline, token=f"Bearer {TOKEN}\n")

    assert len(kfp.runs) == 2


def test_an_expired_token_is_told_with_its_date_and_never_printed(kfp, pipeline):
    kfp.token = TOKEN
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1700000000}).encode()).decode().rstrip("=")
    old = f"e30.{claims}.c2ln"

    error = refused(kfp.url, pipeline, token=old)

    assert error.reason == "token"
    assert "the token was not accepted: it expired on 2023-11-14 at 22:13 UTC: Jwt is expired" in str(error)
    assert "kubectl create token" in error.fix
    assert old not in str(error)
    assert len(kfp.requests) == 1


def test_a_missing_token_is_told(kfp, pipeline):
    kfp.token = TOKEN

    assert "this API wants a token" in str(refused(kfp.url, pipeline))


def test_a_redirect_to_a_login_page_is_a_token_error(kfp, pipeline):
    kfp.token, kfp.login_page = TOKEN, "/dex/auth?client_id=kubeflow"

    assert refused(kfp.url, pipeline, token="old").reason == "token"


def test_a_token_that_cannot_be_a_header_is_not_echoed(kfp, pipeline):
    error = refused(kfp.url, pipeline, token="s3cr3t\nx-evil: 1")

    assert error.reason == "token"
    assert "s3cr3t" not in str(error)
    assert kfp.requests == []


def test_a_server_that_repeats_the_token_does_not_leak_it():
    assert "s3cr3t" not in str(refusal(400, '{"message": "bad s3cr3t"}', {}, "list", "http://kfp", "s3cr3t"))


# Hosts


@pytest.mark.parametrize("host", ["", "ftp://kfp", "http://", "http://kfp:port", "http://k f p"])
def test_an_address_that_is_none(host, pipeline):
    assert refused(host, pipeline).reason == "host"


def test_nobody_listens(pipeline):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        error = refused(f"http://127.0.0.1:{listener.getsockname()[1]}", pipeline)

    assert error.reason == "unreachable"
    assert "Connection refused" in str(error)


def test_no_such_host(pipeline):
    error = refused("http://kfp.invalid", pipeline)

    assert error.reason == "unreachable"
    assert "no such host" in str(error)


def test_a_host_that_never_answers_is_given_up(pipeline):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        backend = Backend(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts_s=(0.2, 0.2))
        with pytest.raises(FlywheelError, match="no answer in time"):
            backend.multi_user()


async def _page(request: web.Request) -> web.Response:
    return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")


async def _json_404(request: web.Request) -> web.Response:
    return web.json_response({"detail": "Not Found"}, status=404)


@pytest.mark.parametrize("answer", [_page, _json_404])
def test_a_server_that_is_no_kfp(serve, pipeline, answer):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)

    error = refused(serve(app), pipeline)

    assert error.reason == "not-kfp"
    assert "/pipeline" in error.fix


def test_a_redirect_elsewhere_is_named(serve, pipeline):
    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("https://kfp.example.com/pipeline")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", moved)

    error = refused(serve(app), pipeline)

    assert error.reason == "host"
    assert "https://kfp.example.com/pipeline" in str(error)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, and a server context that uses it."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kfp")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = folder / "ca.pem"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return pem, context


def test_an_unknown_certificate_is_refused_until_its_ca_is_given(serve, kfp, pipeline, certificate):
    pem, context = certificate
    host = serve(kfp.app(), context)

    error = refused(host, pipeline)

    assert error.reason == "tls"
    assert "self-signed certificate" in str(error)
    assert "--ca-cert" in error.fix
    assert send(host, pipeline, ca_cert=pem).run_id
    assert send(host, pipeline, verify_ssl=False).run_id


def test_https_to_a_plain_port(kfp, pipeline):
    error = refused(kfp.url.replace("http:", "https:"), pipeline)

    assert error.reason == "tls"
    assert kfp.url in error.fix


def test_a_ca_file_that_is_missing(pipeline):
    assert refused("https://127.0.0.1", pipeline, ca_cert="/nowhere/ca.pem").reason == "tls"


# What is sent


def test_an_unknown_parameter_is_refused_in_the_servers_words(kfp, pipeline):
    error = refused(kfp.url, pipeline, {"config": {}, "modle_name": "x"})

    assert error.reason == "parameters"
    assert "parameter(s) provided are not required by pipeline: modle_name" in str(error)


def test_a_missing_parameter_is_refused(kfp, pipeline):
    assert "parameter config is not optional" in str(refused(kfp.url, pipeline, {}))


def test_a_file_that_is_no_pipeline_is_refused(kfp, tmp_path):
    path = tmp_path / "flywheel.yaml"
    path.write_text("hello: world\n")

    error = refused(kfp.url, path)

    assert error.reason == "pipeline"
    assert "no pipeline spec is provided" in str(error)


def test_a_file_that_is_missing(tmp_path):
    assert refused("http://kfp", tmp_path / "none.yaml").fix == "flywheel compile"
