"""The RTSP adapter and simulated cameras against the contract: a plain one, and one with TLS."""

import contextlib
import dataclasses
import datetime
import tempfile
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.rtsp.adapter import RtspAdapter
from adapters.rtsp.settings import RtspSettings
from adapters.testing import AdapterContract, Peer
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet, RtspQuirks
from simulators.rtsp_camera.spec import TlsFiles

PASSWORD = "planted-password"
WRONG = "planted-wrong-password"


class RtspPeer(Peer):
    adapter = RtspAdapter
    secrets = (PASSWORD, WRONG)
    scheme = "rtsp"

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._extra: dict[str, Any] = {}

    def spec(self) -> RtspCameraSpec:
        return RtspCameraSpec(
            name="gate",
            username="admin",
            password=PASSWORD,
            main_size=(160, 128),
            sub_size=(128, 96),
            fps=5,
        )

    async def __aenter__(self) -> Self:
        self._fleet = RtspFleet([self.spec()])
        await self._stack.enter_async_context(self._fleet)
        self._camera = self._fleet.cameras["gate"]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def settings(self) -> RtspSettings:
        return self._settings(self._camera.url("main"), PASSWORD)

    def wrong_password(self) -> RtspSettings:
        return self._settings(self._camera.url("main"), WRONG)

    def at(self, host: str, port: int) -> RtspSettings:
        return self._settings(f"{self.scheme}://{host}:{port}/ch1/main", PASSWORD)

    def _settings(self, endpoint: str, password: str) -> RtspSettings:
        return RtspSettings.model_validate(
            {
                "endpoint": endpoint,
                "sub_endpoint": self._camera.url("sub"),
                "username": "admin",
                "password": password,
                "timeout_s": 1.0,
                "check_interval_s": 0.05,
                **self._extra,
            }
        )

    async def send_garbage(self) -> None:
        self._camera.quirks = dataclasses.replace(self._camera.quirks, garbage=True)

    async def send_good(self) -> None:
        self._camera.quirks = dataclasses.replace(self._camera.quirks, garbage=False)


class RtspsPeer(RtspPeer):
    """A recorder that speaks TLS with a certificate of its own making, and SHA-256."""

    scheme = "rtsps"

    def spec(self) -> RtspCameraSpec:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        files = TlsFiles(certificate=folder / "certificate.pem", key=folder / "key.pem")
        self._extra = {"certificate_sha256": _made(files)}
        quirks = RtspQuirks(digest="sha-256", controls="absolute", keep_alive="options")
        return dataclasses.replace(super().spec(), tls=files, audio="pcma", quirks=quirks)


def _made(files: TlsFiles) -> str:
    """Write a self-signed certificate and its key; gives its SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recorder")])
    made = datetime.datetime(2015, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(made)
        .not_valid_after(made + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate.fingerprint(hashes.SHA256()).hex()


class TestRtsp(AdapterContract):
    def peer(self) -> RtspPeer:
        return RtspPeer()


class TestRtsps(AdapterContract):
    def peer(self) -> RtspPeer:
        return RtspsPeer()
