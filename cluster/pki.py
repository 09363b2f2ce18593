"""Certificates of the local cluster: one authority, and a key pair for everyone who talks to the API server."""

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from llm_flywheel.components.common.files import write_secret

_VALID = timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> None:
        """Write ``name.crt`` and ``name.key``, the key for its owner's eyes only."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.crt").write_bytes(self.certificate)
        write_secret(folder / f"{name}.key", self.key.decode("ascii"))


class Authority:
    """A certificate authority that lives as long as the cluster."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("flywheel-ca", "")
        made = _builder(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._certificate = made.sign(self._key, hashes.SHA256())
        self.pair = _pair(self._certificate, self._key)

    def issue(self, name: str, organisation: str = "", hosts: Sequence[str] = ()) -> Pair:
        """A certificate for a client (user ``name`` of group ``organisation``) or a server at ``hosts``."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(_name(name, organisation), self._name, key.public_key())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if hosts:
            made = made.add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False)
        return _pair(made.sign(self._key, hashes.SHA256()), key)

    def kubeconfig(self, server: str, name: str, organisation: str) -> str:
        """A kubeconfig for a new client certificate."""
        pair = self.issue(name, organisation)
        user = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
        return kubeconfig(server, self.pair.certificate, name, user)


def kubeconfig(server: str, authority: bytes, name: str, user: dict[str, Any], namespace: str = "default") -> str:
    """A kubeconfig with one cluster and one user."""
    cluster = {"server": server, "certificate-authority-data": _base64(authority)}
    context = {"cluster": "flywheel", "user": name, "namespace": namespace}
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "flywheel", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "flywheel", "context": context}],
        "current-context": "flywheel",
    }
    return yaml.safe_dump(value, sort_keys=False)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + _VALID)


def _name(name: str, organisation: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), private)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
