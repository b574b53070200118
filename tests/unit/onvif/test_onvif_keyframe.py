"""A keyframe on request (SetSynchronizationPoint), by whichever media service there is."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from adapters.base import MediaItem, TrackFormat
from adapters.errors import NotSupported
from adapters.events import DONE, RequestKeyframe
from adapters.media import open_stream
from adapters.onvif.adapter import OnvifAdapter
from simulators.onvif_camera import OnvifCamera

MakeAdapter = Callable[..., OnvifAdapter]
Meet = Callable[..., Awaitable[OnvifCamera]]
GROUP = 30


async def pictures_before_a_keyframe(items: AsyncIterator[MediaItem]) -> int:
    async with asyncio.timeout(30):
        for count in itertools.count():
            item = await anext(items)
            while isinstance(item, TrackFormat):
                item = await anext(items)
            if item.keyframe:
                return count
    raise AssertionError


@pytest.mark.parametrize("persona", [(), ("no-media2",)], ids=["media2", "media1"])
async def test_a_stream_goes_on_with_a_keyframe(
    meet: Meet, make_adapter: MakeAdapter, persona: tuple[str, ...]
) -> None:
    camera = await meet(*persona, gop_s=6.0)
    adapter = make_adapter(camera.device_url)
    address = (await adapter.probe()).sources[0].address
    source = await adapter.open_media(address, "main")
    async with open_stream(source) as stream:
        items = aiter(stream)
        await pictures_before_a_keyframe(items)
        outcome = await adapter.execute(RequestKeyframe(address=address))
        assert outcome == DONE
        assert await pictures_before_a_keyframe(items) < GROUP // 2


async def test_a_source_that_is_not_there(meet: Meet, make_adapter: MakeAdapter) -> None:
    adapter = make_adapter((await meet()).device_url)
    with pytest.raises(NotSupported):
        await adapter.execute(RequestKeyframe(address="source_9"))


async def test_the_profile_that_is_named_is_asked(meet: Meet, make_adapter: MakeAdapter) -> None:
    camera = await meet()
    asked: list[Any] = []
    camera.rtsp.request_keyframe = lambda *which: asked.append(which)  # type: ignore[method-assign]
    adapter = make_adapter(camera.device_url)
    await adapter.execute(RequestKeyframe(address="source_1", profile="sub"))
    assert asked == [("sub", 1)]
