"""A device's own picture, over HTTP with digest.

Many cameras guard it with credentials of another part of the firmware: it may refuse what the
services accept, in another way, or offer no sign-in that can be answered at all.
"""

import aiohttp
from yarl import URL

from adapters.errors import AuthenticationFailed, Busy, NotSupported, ProtocolViolation
from adapters.media.digest import Credentials

MAX_PICTURE_BYTES = 16 * 1024 * 1024
_TRIES = 4  # anonymous, signed, a stale nonce, a weaker kind of Digest


async def fetch(session: aiohttp.ClientSession, url: URL, credentials: Credentials) -> bytes:
    """The JPEG at an address. Redirects are not followed: credentials stay with the device.

    Raises: AuthenticationFailed, Busy, NotSupported, ProtocolViolation, aiohttp.ClientError.
    """
    for _ in range(_TRIES):
        signed = credentials.authorization("GET", url.raw_path_qs)
        headers = {} if signed is None else {"Authorization": signed}
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status != 401:
                return await _picture(response)
            challenges = response.headers.getall("WWW-Authenticate", [])
        if not credentials.known:
            break
        try:
            credentials.take(challenges, refused=signed is not None)
        except (AuthenticationFailed, ProtocolViolation):
            break
    raise AuthenticationFailed("it refused the user name or password at its snapshot")


async def _picture(response: aiohttp.ClientResponse) -> bytes:
    status = response.status
    if status == 403:
        raise AuthenticationFailed("it refused the user name or password at its snapshot")
    if status == 404:
        raise NotSupported("there is nothing at the address it gave for its snapshot")
    if status == 503:
        raise Busy("it is too busy to take a snapshot")
    if status != 200:
        raise ProtocolViolation(f"its snapshot has HTTP status {status}")
    data = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        data += chunk
        if len(data) > MAX_PICTURE_BYTES:
            raise ProtocolViolation(f"its snapshot is larger than {MAX_PICTURE_BYTES} bytes")
    if not data.startswith(b"\xff\xd8"):
        raise ProtocolViolation("its snapshot is no JPEG picture")
    return bytes(data)
