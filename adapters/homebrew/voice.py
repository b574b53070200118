"""The voice of a talk, as the gateway is told of it. Pure."""

from datetime import UTC, datetime

from adapters.events import AMBE_DMR, VoiceFlag, VoiceFrame, VoiceHeard
from adapters.homebrew import dmr
from adapters.homebrew.air import Talk
from adapters.homebrew.wire import Dmrd, Frame

_FIRST, _LAST, _ENCRYPTED = (
    int(flag) for flag in (VoiceFlag.FIRST, VoiceFlag.LAST, VoiceFlag.ENCRYPTED)
)


def heard(talk: Talk, burst: Dmrd, now_s: float) -> VoiceHeard | None:
    """The voice of a burst; None where it has none, or none that is to be told: of a talk that is
    private, an echo of ours, or another repeater's copy of one that is told, and what was told
    before."""
    if burst.frame is Frame.DATA_SYNC or not _is_told(talk):
        return None
    first = not talk.numbering.following
    number = talk.numbering.number(burst.sequence, burst.kind, now_s)
    if number is None:
        return None
    talk.reception.note(burst.quality)
    return _frame(talk, number, _FIRST if first else 0, dmr.voice_of(burst.payload))


def ended(talk: Talk) -> VoiceHeard | None:
    """That nothing follows: the terminator's word, without voice; None if there was none before."""
    following = talk.numbering.following
    if not following or not _is_told(talk):
        return None
    return _frame(talk, following, _LAST, b"")


def _is_told(talk: Talk) -> bool:
    return talk.reported and talk.caused_by is None and not talk.private


def _frame(talk: Talk, number: int, flags: int, payload: bytes) -> VoiceHeard:
    return VoiceHeard(
        at=datetime.now(UTC),
        address=talk.address,
        frame=VoiceFrame(
            transmission=talk.stream,
            sequence=number,
            media_time_us=number * dmr.BURST_MS * 1000,
            codec=AMBE_DMR,
            duration_ms=dmr.BURST_MS if payload else 0,
            flags=flags | (_ENCRYPTED if talk.encrypted else 0),
            payload=payload,
        ),
    )
