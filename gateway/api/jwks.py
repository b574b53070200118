"""The public keys by which others know our tokens; without prefix and without sign-in."""

from fastapi import APIRouter, Response

from gateway.api.shapes import answer
from gateway.live.mediaserver import KeyRing

MAX_AGE_S = 300


def jwks_router(keys: KeyRing) -> APIRouter:
    """``/.well-known/jwks.json``; the app mounts it at its root."""
    router = APIRouter(tags=["live"])

    @router.get("/.well-known/jwks.json")
    async def jwks() -> Response:
        """A JWK set (RFC 7517): the keys of yesterday, today and tomorrow."""
        return answer(keys.jwks(), headers={"Cache-Control": f"public, max-age={MAX_AGE_S}"})

    return router
