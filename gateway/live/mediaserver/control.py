"""A client of one media server's control API."""

import asyncio
import email.utils
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.live.mediaserver import wire
from gateway.live.mediaserver.errors import Away, Refused, Unsafe
from gateway.live.mediaserver.wire import Reader

# A refusal is held back by the server for up to 4 s, against guessing.
TIMEOUT_S = 6.0


class ControlApi:
    """url: its base address. token: a fresh one for each request. session: of the caller, who
    closes it. clock_ahead_s: how far the server's clock is before ours, as of its last answer."""

    def __init__(self, url: str, token: Callable[[], str], session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self.clock_ahead_s = 0.0
        self._token = token
        self._session = session

    async def info(self) -> tuple[str, str]:
        """When it was started, and its version. Raises: MediaServerError, as everything here."""
        document = await self._ask("GET", "info")
        if not isinstance(document, dict):
            raise Away("it does not answer as MediaMTX does")
        return str(document.get("started", "")), str(document.get("version", ""))

    async def configuration(self) -> dict[str, Any]:
        document = await self._ask("GET", "config/global/get")
        if not isinstance(document, dict):
            raise Away("its configuration cannot be read")
        return document

    async def refresh_keys(self) -> None:
        """Make it read our keys again at the next token."""
        await self._ask("POST", "auth/jwks/refresh")

    async def refuses_strangers(self) -> None:
        """Raises: Unsafe where the control API answers without a token."""
        status, _ = await self._exchange("GET", "info", token="")
        if status != 401:
            raise Unsafe("its control API answers without a token: who reaches it rules it")

    # --- paths ----------------------------------------------------------------------------------

    async def put_path(self, name: str, source: str) -> None:
        """Make a path, or make it anew."""
        await self._ask(
            "POST", f"config/paths/replace/{quote(name)}", wire.path_configuration(source)
        )

    async def has_path(self, name: str) -> bool:
        """Whether it is in its configuration, which ends with the server and when its file is
        changed."""
        found = await self._ask("GET", f"config/paths/get/{quote(name)}", missing_ok=True)
        return found is not None

    async def delete_path(self, name: str) -> None:
        """Whoever reads it is disconnected. One that is not there is gone already."""
        await self._ask("DELETE", f"config/paths/delete/{quote(name)}", missing_ok=True)

    async def path_names(self) -> list[str]:
        """Of all paths in its configuration."""
        names: list[str] = []
        page, pages = 0, 1
        while page < pages:
            document = await self._ask("GET", "config/paths/list", **_page(page))
            found, pages = wire.parse_names(document)
            names += found
            page += 1
        return names

    # --- readers --------------------------------------------------------------------------------

    async def readers(self) -> list[Reader]:
        """Everybody who reads, whatever the protocol."""
        lists = await asyncio.gather(*(self._readers(kind) for kind in wire.KINDS))
        return [reader for each in lists for reader in each]

    async def _readers(self, kind: str) -> list[Reader]:
        readers: list[Reader] = []
        page, pages = 0, 1
        while page < pages:
            document = await self._ask("GET", f"{kind}/list", missing_ok=True, **_page(page))
            if document is None:  # the protocol is turned off
                break
            found, pages = wire.parse_readers(kind, document)
            readers += found
            page += 1
        return readers

    async def kick(self, reader: Reader) -> None:
        """Disconnect a reader; one that is gone is gone."""
        await self._ask("POST", f"{reader.kind}/kick/{reader.id}", missing_ok=True)

    # --- the wire -------------------------------------------------------------------------------

    async def _ask(
        self,
        method: str,
        what: str,
        body: dict[str, Any] | None = None,
        *,
        missing_ok: bool = False,
        params: dict[str, str] | None = None,
    ) -> Any:
        status, document = await self._exchange(
            method, what, token=self._token(), body=body, params=params
        )
        if status == 401:
            raise Refused(
                "it refuses our token: see that its authJWTJWKS is this gateway's "
                "/.well-known/jwks.json, that it reaches it, and that its clock is right"
            )
        if status == 404 and missing_ok:
            return None
        if status >= 400:
            said = document.get("error", "") if isinstance(document, dict) else ""
            raise Away(f"it answers {what.partition('/')[0]} with {status} {said}".rstrip())
        return document

    async def _exchange(
        self,
        method: str,
        what: str,
        *,
        token: str,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._session.request(
                    method,
                    URL(f"{self.url}/v3/{what}", encoded=True),
                    headers=headers,
                    json=body,
                    params=params,
                    allow_redirects=False,
                ) as answer,
            ):
                self._compare_clocks(answer.headers.get("Date", ""))
                if answer.content_type != "application/json":
                    return answer.status, None
                return answer.status, await answer.json()
        except TimeoutError:
            raise Away("its control API does not answer in time") from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise Away(f"its control API cannot be reached ({type(error).__name__})") from None

    def _compare_clocks(self, date: str) -> None:
        try:
            theirs_s = email.utils.parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError):
            return
        self.clock_ahead_s = theirs_s + 0.5 - time.time()  # it tells whole seconds


def _page(number: int) -> dict[str, Any]:
    return {"params": {"page": str(number), "itemsPerPage": str(wire.PAGE_SIZE)}}
