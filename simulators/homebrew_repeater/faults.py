"""Datagrams that a broken or hostile peer might send. No I/O."""

from simulators.homebrew_repeater import burst
from simulators.homebrew_repeater.wire import Dmrd, FrameType


def malformed_packets(repeater: int) -> dict[str, bytes]:
    """Packets by what is wrong with them; repeater: the id that they claim.

    The DMRD among them are otherwise a voice burst of unit 1 on talkgroup 1, slot 1.
    """
    good = Dmrd(
        sequence=0,
        source=1,
        destination=1,
        repeater=repeater,
        slot=1,
        frame_type=FrameType.VOICE_SYNC,
        kind=0,
        stream=0xDEADBEEF,
        payload=burst.silent_superframe(bytes(9), 1)[0],
    ).encode()
    return {
        "unknown": b"WHAT" + repeater.to_bytes(4, "big"),
        "word only": b"DMRD",
        "short": good[:40],
        "long": good + bytes(40),
        "frame type 3": good[:15] + b"\x30" + good[16:],
        "burst 9": good[:15] + b"\x09" + good[16:],
        "other repeater": good[:11] + (repeater ^ 1).to_bytes(4, "big") + good[15:],
        "login without id": b"RPTL",
        "short configuration": b"RPTC" + repeater.to_bytes(4, "big") + b"HT0001",
        "not ASCII": bytes(range(128, 181)),
    }
