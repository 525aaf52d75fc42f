"""A certificate for 127.0.0.1 that signs itself, for measurements over TLS; made once, kept in the cache."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from perf.inputs import cache

_DAYS = 3650


def server() -> tuple[str, str]:
    """Files with the certificate and its key."""
    folder = cache()
    certificate, key = folder / "sink.crt", folder / "sink.key"
    if not certificate.exists():
        _make(certificate, key)
    return str(certificate), str(key)


def trusted() -> dict[str, str]:
    """The environment in which AWS's libraries, and ours, trust it."""
    return {"AWS_CA_BUNDLE": server()[0]}


def context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server()[0])


def _make(certificate: Path, key: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ddbload perf sink")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    key.touch(mode=0o600)
    key.write_bytes(
        secret.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate.write_bytes(made.public_bytes(encoding))
