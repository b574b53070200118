"""What browsers are told about every answer, so that a page of ours cannot be turned on people."""

from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)


class SecurityHeaders:
    """Pure ASGI: nothing is buffered on its way. elsewhere: the origins besides ours that a page
    may connect to."""

    def __init__(self, app: ASGIApp, elsewhere: Callable[[], Iterable[str]] = tuple) -> None:
        self._app = app
        self._elsewhere = elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", self._policy()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _policy(self) -> bytes:
        origins = " ".join(self._elsewhere())
        connect = f"; connect-src 'self' {origins}" if origins else ""
        return (CONTENT_SECURITY_POLICY + connect).encode()
