"""Devices that say hello after a power cut are tried at once."""

import asyncio
from contextlib import aclosing
from typing import Any

import structlog

from adapters import catalog
from adapters.errors import AdapterError, NotSupported
from adapters.events import Scope
from gateway.agents.fleet import Fleet

log = structlog.get_logger("hello")


async def follow_announcements(fleet: Fleet, scope: Scope) -> None:
    """Until cancelled: hear every kind of video device that announces itself. One that cannot be
    heard is told once; its devices come back by back-off and by their siblings."""
    async with asyncio.TaskGroup() as group:
        for kind in catalog.kinds().values():
            if kind.serves == "video":
                group.create_task(_follow(fleet, scope, kind.name))


async def _follow(fleet: Fleet, scope: Scope, kind: str) -> None:
    try:
        heard: Any = catalog.load(kind).announcements(scope)
        async with aclosing(heard) as announcements:
            async for found in announcements:
                fleet.hello(found.endpoint)
    except NotSupported:
        return
    except AdapterError as error:
        log.warning("announcements are not heard", kind=kind, reason=error.message)
    except Exception:
        log.exception("announcements are not heard", kind=kind)
