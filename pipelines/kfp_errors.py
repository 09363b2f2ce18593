"""What the failures of a Kubeflow Pipelines API mean to a person, and what to do about them."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from llm_flywheel.components.common.errors import FlywheelError

SIGN_IN = (
    "export KFP_TOKEN=$(kubectl create token default-editor --namespace PROFILE "
    "--audience pipelines.kubeflow.org), or in a Kubeflow notebook "
    "--token-file /var/run/secrets/kubeflow/pipelines/token"
)


def refusal(
    status: int, body: str, headers: Mapping[str, str], doing: str, host: str, token: str = ""
) -> FlywheelError:
    """What an HTTP error of the API means to a person.

    Args:
        status: HTTP status.
        body: Answer of the server.
        headers: Its headers, names in lower case.
        doing: What was asked, as the end of "could not …".
        host: The API's address.
        token: Left out of the message should the server repeat it.
    """
    said = _message(body).replace(token, "***") if token else _message(body)
    location = headers.get("location", "")
    login = re.search(r"dex|oauth|login|/auth|signin|sso", location)
    if status == 401 or (300 <= status < 400 and login):
        what = "the token was not accepted" if token else "this API wants a token"
        return FlywheelError(f"{what}{_expired(token)}{_quoted(said)}", where=host, fix=SIGN_IN, reason="token")
    if 300 <= status < 400:
        return FlywheelError(
            f"the address redirects to {location or 'nowhere'}",
            where=host,
            fix="pass the address that answers without a redirect as --host",
            reason="host",
        )
    # The upload handler reports a refused account as a bad request.
    if status == 403 or (status == 400 and re.search("upload denied|uthorization (error|failure)", said)):
        return FlywheelError(
            f"no permission to {doing}{_quoted(said)}",
            where=host,
            fix="check --namespace and the token's account: kubectl auth can-i create runs.pipelines.kubeflow.org "
            "--namespace PROFILE",
            reason="forbidden",
        )
    # Old backends report a clash of names as an internal error.
    if status == 409 or (status >= 500 and "already exist" in said):
        return clash(f"could not {doing}: the name is taken{_quoted(said)}", host)
    if said.lstrip().startswith("<") or (status in (404, 405, 501) and not _is_kfp_error(body)):
        return not_kfp(host, f"it answers {status}")
    if 400 <= status < 500:
        parameters = "parameter" in said
        return FlywheelError(
            f"could not {doing}: {said or status}",
            where=host,
            fix="compile and submit with the same version of this project" if parameters else "",
            reason="parameters" if parameters else "pipeline",
        )
    return FlywheelError(f"could not {doing}: the server failed ({status}){_quoted(said)}", where=host, reason="server")


def unreachable(error: Exception, host: str) -> FlywheelError:
    """What a failed connection (a urllib3 exception) means to a person."""
    from urllib3 import exceptions

    cause = getattr(error, "reason", None) or error
    text = str(cause).rpartition(": ")[2]
    if isinstance(cause, exceptions.SSLError):
        return _bad_tls(str(cause), host)
    if isinstance(cause, exceptions.NameResolutionError):
        what, fix = "no such host", "check the name in --host"
    elif isinstance(cause, exceptions.NewConnectionError):
        what = f"cannot connect: {text}"
        fix = "check the address and the port; is kubectl port-forward -n kubeflow svc/ml-pipeline 8888 running?"
    elif isinstance(cause, exceptions.TimeoutError):
        what, fix = "no answer in time", "check the address, the port and the network (VPN, firewall)"
    else:
        what, fix = f"the connection broke: {text}", "check that --host is a KFP API, and http or https"
    return FlywheelError(what, where=host, fix=fix, reason="unreachable")


def _bad_tls(text: str, host: str) -> FlywheelError:
    if re.search("WRONG_VERSION_NUMBER|UNKNOWN_PROTOCOL|record layer", text, re.IGNORECASE):
        return FlywheelError(
            "this port speaks no TLS", where=host, fix=f"--host http://{host.partition('://')[2]}", reason="tls"
        )
    detail = re.search(r"verify failed: (.+?)(?: \(_ssl|'|$)", text)
    return FlywheelError(
        f"its certificate is not trusted: {detail.group(1) if detail else text}",
        where=host,
        fix="pass --ca-cert FILE.pem with the CA that signed it",
        reason="tls",
    )


def clash(what: str, host: str) -> FlywheelError:
    """A name that something else has already."""
    return FlywheelError(
        what, where=host, fix="choose another name with --pipeline-name (or --experiment)", reason="clash"
    )


def not_kfp(host: str, why: str) -> FlywheelError:
    """An address where something else answers."""
    return FlywheelError(
        f"this is not a Kubeflow Pipelines API: {why}",
        where=host,
        fix="check the path: a full Kubeflow has its API under https://HOST/pipeline, the service ml-pipeline at /",
        reason="not-kfp",
    )


def _is_kfp_error(body: str) -> bool:
    try:
        return isinstance(json.loads(body), dict) and bool({"code", "error_message"} & set(json.loads(body)))
    except ValueError:
        return False


def _message(body: str) -> str:
    """The server's words: of gRPC's JSON error, of the upload handler's, or of a proxy."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    text = body
    if isinstance(value, dict):
        text = str(value.get("message") or value.get("error_message") or value.get("error") or body)
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:400] + "…"


def _quoted(said: str) -> str:
    return f": {said}" if said and not said.startswith("<") else ""


def _expired(token: str) -> str:
    """When a JSON web token expired, by its own claim (RFC 7519, section 4.1.4); "" if it does not say or is valid."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expires = datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError, binascii.Error):
        return ""
    return f": it expired on {expires:%Y-%m-%d at %H:%M} UTC" if expires < datetime.now(UTC) else ""
