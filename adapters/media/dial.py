"""Connecting to a camera: TCP, or TLS with the certificate checked or pinned."""

import asyncio
import contextlib
import hashlib
import ssl

from adapters.errors import InvalidSettings, TimedOut, Unreachable, reason_of
from adapters.media.address import RtspAddress
from adapters.media.link import RtspLink

_DIGITS = frozenset("0123456789abcdef")


def parse_fingerprint(text: str) -> str:
    """The SHA-256 of a certificate as 64 lower-case digits, or empty; colons and blanks are
    passed over. Raises: InvalidSettings."""
    digits = "".join(text.lower().replace(":", " ").split())
    if digits and (len(digits) != 64 or not set(digits) <= _DIGITS):
        raise InvalidSettings("a certificate's SHA-256 has 64 hexadecimal digits")
    return digits


async def dial(address: RtspAddress, timeout_s: float, certificate_sha256: str = "") -> RtspLink:
    """Raises: Unreachable, TimedOut, InvalidSettings (the certificate is not trusted)."""
    location = address.location
    try:
        async with asyncio.timeout(timeout_s):
            return await _connect(address, parse_fingerprint(certificate_sha256))
    except TimeoutError:
        raise TimedOut(f"no connection within {timeout_s:g} s", device=location) from None
    except ssl.SSLCertVerificationError as error:
        seen = await _fingerprint_of(address, timeout_s)
        text = (
            f"its certificate is not trusted here ({error.verify_message}); if it is the right"
            f" one, set its SHA-256, which is {seen}"
        )
        raise InvalidSettings(text, device=location) from None
    except ssl.SSLError as error:
        text = f"no TLS: {error.reason or type(error).__name__}"
        raise Unreachable(text, device=location) from None
    except OSError as error:
        raise Unreachable(f"no connection: {reason_of(error)}", device=location) from None


async def _connect(address: RtspAddress, pinned: str) -> RtspLink:
    loop = asyncio.get_running_loop()
    secure = address.scheme == "rtsps"
    transport, link = await loop.create_connection(
        lambda: RtspLink(address.location),
        address.host,
        address.port,
        ssl=_context(pinned) if secure else None,
        server_hostname=address.host if secure else None,
    )
    if secure and pinned:
        seen = _fingerprint(transport)
        if seen != pinned:
            transport.abort()
            text = f"its certificate is another one than the pinned: its SHA-256 is {seen}"
            raise InvalidSettings(text, device=address.location)
    return link


def _context(pinned: str) -> ssl.SSLContext:
    if not pinned:
        return ssl.create_default_context()
    # The pin is all that counts: cameras' own certificates name no host and are long expired.
    return _unverified()


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _fingerprint(transport: asyncio.BaseTransport) -> str:
    connection = transport.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) if connection else None
    return hashlib.sha256(certificate or b"").hexdigest()


async def _fingerprint_of(address: RtspAddress, timeout_s: float) -> str:
    """What certificate is shown there; nothing is sent but the handshake."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            transport, _ = await loop.create_connection(
                asyncio.Protocol,
                address.host,
                address.port,
                ssl=_unverified(),
                server_hostname=address.host,
            )
        seen = _fingerprint(transport)
        transport.abort()
        return seen
    return "unknown"
