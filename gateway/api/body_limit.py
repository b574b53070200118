"""No request may bring more than what it is for: what is read of it is kept on disk."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.exchange.reasons import language_of
from registry.exchange.records import MAX_FILE_BYTES, FileRefused

MAX_BYTES = 16 << 20
MAX_UPLOAD_BYTES = MAX_FILE_BYTES + (1 << 20)
"""A file that may be imported, and the form around it."""
UPLOADS = "/points/import"


class BodyLimit:
    """Answers 413 to requests that are larger, when so much was read of them, or when they say so
    themselves. Pure ASGI: nothing is buffered on its way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        most = MAX_UPLOAD_BYTES if scope["path"].endswith(UPLOADS) else MAX_BYTES
        declared = headers.get(b"content-length", b"0")
        came = 0

        async def limited() -> Message:
            nonlocal came
            if declared.isdigit() and int(declared) > most:
                raise _too_large(headers, most)
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise _too_large(headers, most)
            return message

        await self._app(scope, limited, send)


def _too_large(headers: dict[bytes, bytes], most: int) -> HTTPException:
    language = language_of(headers.get(b"accept-language", b"").decode("latin-1"))
    allowed = MAX_FILE_BYTES if most == MAX_UPLOAD_BYTES else most
    refused = FileRefused("too_large", most=allowed >> 20)
    return HTTPException(413, refused.text(language))
