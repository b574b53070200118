"""The console's built files; every path that is no file is the console itself."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

DIST = Path(__file__).parent.parent / "console" / "dist"
_FOREVER = "public, max-age=31536000, immutable"


def console_router(dist: Path = DIST) -> APIRouter:
    """dist: the build output; without one, a page that says how to build it."""
    router = APIRouter(include_in_schema=False)
    root = dist.resolve()

    @router.get("/{path:path}")
    async def console(path: str) -> Response:
        if path.startswith(("api/", "healthz", "readyz", "metrics", ".well-known")):
            raise HTTPException(404, "there is no such route")
        wanted = (root / path).resolve()
        if path and wanted.is_relative_to(root) and wanted.is_file():
            # Vite names what it builds by content, so those never change.
            cache = _FOREVER if path.startswith("assets/") else "no-cache"
            return FileResponse(wanted, headers={"Cache-Control": cache})
        index = root / "index.html"
        if not index.is_file():
            return PlainTextResponse("The console is not built: run `make console`.", 503)
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    return router
