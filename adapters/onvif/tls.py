"""Certificates of devices: almost all sign their own, so each is pinned to the one it showed first.

Nothing is sent to a device before its certificate was judged.
"""

import asyncio
import contextlib
import hashlib
import ssl
from urllib.parse import urlsplit

import aiohttp

from adapters.errors import InvalidSettings, TimedOut, Unreachable, reason_of


def trust(url: str, certificate_sha256: str) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
    """What aiohttp should trust: the pinned certificate, else what this machine trusts."""
    if urlsplit(url).scheme != "https" or not certificate_sha256:
        return True
    return aiohttp.Fingerprint(bytes.fromhex(certificate_sha256))


def shown(certificate_sha256: str) -> str:
    """A fingerprint as browsers and cameras show it."""
    pairs = (certificate_sha256[at : at + 2] for at in range(0, len(certificate_sha256), 2))
    return ":".join(pairs).upper()


def normalised(text: str) -> str:
    """A SHA-256 fingerprint in any of its spellings as 64 hexadecimal digits.

    Raises: ValueError.
    """
    plain = text.strip().replace(":", "").replace(" ", "").lower()
    if plain and (len(plain) != 64 or set(plain) - set("0123456789abcdef")):
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits")
    return plain


async def presented(url: str, timeout_s: float) -> tuple[str, bool]:
    """The certificate that a device shows: its SHA-256, and whether this machine trusts it.

    Nothing else is said to it. Raises: Unreachable, TimedOut.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(timeout_s):
            try:
                return await _handshake(host, port, ssl.create_default_context()), True
            except ssl.SSLCertVerificationError:
                return await _handshake(host, port, _unverified()), False
    except TimeoutError:
        raise TimedOut(f"no TLS handshake within {timeout_s:g} s", device=url) from None
    except ssl.SSLError:
        raise Unreachable("it speaks no TLS at this port", device=url) from None
    except OSError as error:
        raise Unreachable(f"no connection to it: {reason_of(error)}", device=url) from None


async def _handshake(host: str, port: int, context: ssl.SSLContext) -> str:
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return hashlib.sha256(certificate).hexdigest()
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


def _unverified() -> ssl.SSLContext:
    """Only to look at the certificate: no request goes over such a connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def changed(pinned: str, now: str) -> InvalidSettings:
    """The device shows another certificate than the pinned one."""
    return InvalidSettings(
        f"its certificate is another one now: SHA-256 {shown(now)} in place of {shown(pinned)}. "
        "Where the device was reset or renewed it, clear the setting certificate_sha256 and "
        "refresh the device; where nobody did, somebody stands in between"
    )
