"""WebRTC by WHEP: each view is a peer that gets the coded pictures as they are."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import OperationError

from adapters.base import TrackFormat
from gateway.live.errors import LimitReached, LiveRefused, NoPicture
from gateway.live.frames import Entry, LiveFormat, LiveUnit
from gateway.live.relay import CLOSE_NORMAL
from gateway.live.service import LiveService, LiveSession
from gateway.live.viewer import ViewClosed
from gateway.live.whep_feed import SOUNDS, Feed, PacketTrack, require_h264
from gateway.live.whep_sdp import OfferUnusable, Prepared, prepare_offer, restore_answer

PICTURE_S = 10.0
"""So long an offer waits for the camera's first picture: the answer depends on its format."""
CONNECT_S = 15.0
log = structlog.get_logger(__name__)


class Answer:
    """What a peer is told. id: of its view. silent: why it gets no sound though there is some."""

    def __init__(self, view_id: str, sdp: str, silent: str) -> None:
        self.id = view_id
        self.sdp = sdp
        self.silent = silent


class WhepViews:
    """`async with WhepViews(live) as views:` serves peers until it is left.

    addresses: of this machine, on which peers are met; empty for all it has but loopback.
    """

    def __init__(
        self,
        live: LiveService,
        addresses: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._addresses = tuple(addresses)
        self._clock = clock
        self._views: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = tuple(self._views.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._views)

    async def answer(self, token: str, offer: str) -> Answer:
        """Redeem a ticket and begin a view. Raises: LiveRefused, OfferUnusable."""
        if len(self._views) >= self._live.settings.max_whep_views:
            most = self._live.settings.max_whep_views
            raise LimitReached(f"{most} views by WebRTC are open already")
        session = await self._live.redeem(token, "whep")
        view_id = secrets.token_urlsafe(16)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        view = self._view(session, view_id, offer, answered)
        task = asyncio.create_task(view, name=f"live-whep {session.key.name}")
        self._views[view_id] = task
        task.add_done_callback(lambda _: self._views.pop(view_id, None))
        try:
            return await answered
        except BaseException:
            task.cancel()
            await asyncio.wait([task])
            raise

    async def end(self, view_id: str) -> bool:
        """End a view; False when there is none of this name."""
        task = self._views.get(view_id)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def _view(
        self, session: LiveSession, view_id: str, offer: str, answered: asyncio.Future[Answer]
    ) -> None:
        try:
            async with session:
                await self._play(session, view_id, offer, answered)
        except (LiveRefused, OfferUnusable) as refused:
            _settle(answered, refused)
        except ViewClosed as over:
            _settle(answered, NoPicture(over.reason))
        except TimeoutError:
            log.info("live.whep_unconnected", stream=session.key.name)
        except Exception as error:
            log.exception("live.whep_failed", stream=session.key.name, error=type(error).__name__)
            _settle(answered, NoPicture("the view failed"))
        finally:
            answered.cancel()

    async def _play(
        self, session: LiveSession, view_id: str, offer: str, answered: asyncio.Future[Answer]
    ) -> None:
        """One view from its first picture on. Raises: LiveRefused, OfferUnusable, ViewClosed,
        TimeoutError when the peer does not connect."""
        try:
            async with _Peer(self._addresses) as peer:
                head, video, sound = await _first_group(session)
                require_h264(video)
                carried = sound.codec if sound is not None and sound.codec in SOUNDS else None
                prepared = prepare_offer(offer, video.codec, carried)
                feed = self._feed(session, prepared)
                sdp = await peer.answer(prepared, feed)
                _settle(answered, Answer(view_id, sdp, _silent(sound, prepared)))
                await _first_of(
                    _pump(session, head, feed, peer), session.closed.wait(), peer.gone.wait()
                )
        except (LiveRefused, OfferUnusable) as refused:
            session.viewer.close(CLOSE_NORMAL, refused.reason)
            raise
        except TimeoutError:
            session.viewer.close(CLOSE_NORMAL, f"no peer came within {CONNECT_S:g} s")
            raise

    def _feed(self, session: LiveSession, prepared: Prepared) -> Feed:
        key = session.key
        return Feed(
            sound=PacketTrack("audio") if prepared.sound else None,
            ask=lambda: self._live.ask_keyframe(key.point_id, key.profile),
            max_group_units=self._live.settings.max_group_units,
            clock=self._clock,
        )


class _Peer:
    """One peer connection. connected: packets flow; gone: it is over."""

    def __init__(self, addresses: Sequence[str]) -> None:
        # No ICE servers: nobody but the peer is talked to.
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._addresses = addresses
        self.connected, self.gone = asyncio.Event(), asyncio.Event()
        self._connection.on("connectionstatechange", self._changed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._connection.close()

    async def answer(self, prepared: Prepared, feed: Feed) -> str:
        """Raises: OfferUnusable."""
        connection = self._connection
        try:
            await connection.setRemoteDescription(RTCSessionDescription(prepared.sdp, "offer"))
        except OperationError as error:
            raise OfferUnusable(str(error), understood=True) from None
        except Exception as error:
            # The library reads with bare look-ups and asserts: what they say helps nobody.
            raise OfferUnusable(
                f"the offer cannot be read ({type(error).__name__})", understood=False
            ) from None
        sender = connection.addTrack(feed.pictures)
        if feed.sound is not None:
            connection.addTrack(feed.sound)
        await self._gather()
        await connection.setLocalDescription(await connection.createAnswer())
        _hear_lost_pictures(sender, feed.lost_picture)
        return restore_answer(connection.localDescription.sdp, prepared)

    async def _gather(self) -> None:
        """Offer the addresses that are set. The library offers all but loopback, and has no
        setting for it; its own gathering finds this done."""
        if not self._addresses:
            return
        for transport in {t.receiver.transport for t in self._connection.getTransceivers()}:
            ice = transport.transport.iceGatherer._connection
            if not ice._local_candidates_start:
                ice._local_candidates_start = True
                found = await ice.get_component_candidates(1, list(self._addresses))
                ice._local_candidates += found
                ice._local_candidates_end = True

    def _changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self.connected.set()
        elif state in ("failed", "closed"):
            self.gone.set()


def _hear_lost_pictures(sender: RTCRtpSender, told: Callable[[], None]) -> None:
    # The library has no event for it: it would tell its own encoder, and there is none.
    sender._send_keyframe = told  # type: ignore[method-assign]


async def _first_group(
    session: LiveSession,
) -> tuple[list[Entry], TrackFormat, TrackFormat | None]:
    """What comes up to the first picture, and the formats; that of sound comes before it.
    Raises: NoPicture, ViewClosed."""
    head: list[Entry] = []
    try:
        async with asyncio.timeout(PICTURE_S):
            while not any(isinstance(one, LiveUnit) and one.video for one in head):
                head += await session.take_entries()
    except TimeoutError:
        raise NoPicture(f"no picture came within {PICTURE_S:g} s") from None
    formats = [one.track for one in head if isinstance(one, LiveFormat)]
    video = next(track for track in reversed(formats) if track.kind == "video")
    return head, video, next((t for t in reversed(formats) if t.kind == "audio"), None)


async def _pump(session: LiveSession, head: list[Entry], feed: Feed, peer: _Peer) -> None:
    """Feed the peer until the view is over. Raises: TimeoutError when it does not connect."""
    for entry in head:
        await feed.add(entry)
    connecting = asyncio.create_task(_connected(peer), name="live-whep-connecting")
    try:
        while not connecting.done():
            taking = asyncio.ensure_future(session.take_entries())
            try:
                await asyncio.wait({taking, connecting}, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    for entry in taking.result():
                        await feed.add(entry)
            finally:
                taking.cancel()
                # Nobody else may take before this one has let go.
                await asyncio.gather(taking, return_exceptions=True)
        connecting.result()
    finally:
        connecting.cancel()
    await feed.connected()
    while True:
        for entry in await session.take_entries():
            await feed.add(entry)


async def _connected(peer: _Peer) -> None:
    async with asyncio.timeout(CONNECT_S):
        await peer.connected.wait()


async def _first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Run side by side until the first is done; its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with contextlib.suppress(ViewClosed):
            task.result()


def _silent(sound: TrackFormat | None, prepared: Prepared) -> str:
    if sound is None or prepared.sound:
        return ""
    if sound.codec in SOUNDS:
        return f"the offer does not ask for {sound.codec.upper()}"
    return f"WebRTC carries no {sound.codec}: only G.711 is passed on"


def _settle(answered: "asyncio.Future[Answer]", result: Answer | Exception) -> None:
    if answered.done():
        return
    if isinstance(result, Answer):
        answered.set_result(result)
    else:
        answered.set_exception(result)
