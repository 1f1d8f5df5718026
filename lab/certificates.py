"""A certificate for this machine's loopback addresses, and the small authority (CA) that vouches for it.

It is good for the name ``azure``, too, which the cluster's container has in its network.

The authority's own key is kept nowhere: nobody can make a second certificate that its clients would trust.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.keys import write_private
from lab.nodes import AZURE

HOSTS = ["localhost", AZURE.name]
VALID = timedelta(days=825)  # the longest that browsers accept
RENEWED = timedelta(days=30)  # before they run out
PEM = serialization.Encoding.PEM


def make(ca_file: Path, certificate_file: Path, key_file: Path) -> None:
    """Make the three files, all PEM, unless good ones are there. The key is its owner's to read only."""
    if _are_good(ca_file, certificate_file, key_file):
        return
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _authority(ca_key, now)
    certificate = _certificate(key, ca, ca_key, now)
    plain = (PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(key_file, key.private_bytes(*plain).decode())
    for path, made in ((certificate_file, certificate), (ca_file, ca)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.public_bytes(PEM))


def _are_good(ca_file: Path, certificate_file: Path, key_file: Path) -> bool:
    try:
        ca, certificate = (
            x509.load_pem_x509_certificate(path.read_bytes()) for path in (ca_file, certificate_file)
        )
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate.verify_directly_issued_by(ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    lasts = certificate.not_valid_after_utc - datetime.now(UTC) > RENEWED
    named = names.get_values_for_type(x509.DNSName) == HOSTS
    return lasts and named and key.public_key() == certificate.public_key()


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("CA of a lab on one machine")
    return (
        _begun(name, name, key, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _certificate(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    names = [*map(x509.DNSName, HOSTS), *(x509.IPAddress(ip_address(each)) for each in ("127.0.0.1", "::1"))]
    return (
        _begun(_name("localhost"), ca.subject, key, ca_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a clock may be a little behind
        .not_valid_after(now + VALID)
        .add_extension(own, critical=False)
        .add_extension(authority, critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
