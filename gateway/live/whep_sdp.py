"""Offers and answers of WHEP, as text: which of the codecs that a browser offers is taken.

What answers knows H.264 of two profiles only. Nothing is encoded here, so any profile can be sent:
the offer is shown to it with the one codec that fits, under a profile that it knows, and its
answer gets the profile that was offered back.
"""

import dataclasses
import re

KNOWN_PROFILE = "42e01f"
_PROFILE = re.compile(r"profile-level-id=([0-9a-fA-F]{6})")
_ATTRIBUTE = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ?(.*)")


class OfferUnusable(Exception):
    """reason: what is wrong with it. understood: whether it is an offer at all."""

    def __init__(self, reason: str, *, understood: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.understood = understood


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """sdp: the offer with what is taken of it. profile: profile-level-id as the browser offered
    it. sound: whether it takes the sound."""

    sdp: str
    profile: str
    sound: bool


def prepare_offer(offer: str, codec: str, sound: str | None) -> Prepared:
    """Leave of an offer what fits.

    codec: the stream's, such as ``avc1.64001f``. sound: ``pcma``, ``pcmu`` or None.
    Raises: OfferUnusable.
    """
    sections = _sections(offer)
    if not offer.startswith("v=0") or len(sections) < 2:
        raise OfferUnusable("this is no session description", understood=False)
    profile, heard = "", False
    kept = [_uncalled(sections[0])]
    for lines in sections[1:]:
        kind = lines[0][2:].split(" ", 1)[0]
        if kind == "video" and not profile:
            lines, profile = _video(lines, codec.partition(".")[2].lower())
        elif kind == "audio" and sound and not heard:
            lines, heard = _audio(lines, sound)
        kept.append(_uncalled(lines))
    if not profile:
        raise OfferUnusable("no picture is asked for", understood=True)
    text = "".join(f"{line}\r\n" for lines in kept for line in lines)
    return Prepared(sdp=text, profile=profile, sound=heard)


def restore_answer(answer: str, prepared: Prepared) -> str:
    """The answer under the profile that was offered."""
    return answer.replace(
        f"profile-level-id={KNOWN_PROFILE}", f"profile-level-id={prepared.profile}"
    )


def _sections(text: str) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            sections.append([])
        if line:
            sections[-1].append(line)
    return sections


def _uncalled(lines: list[str]) -> list[str]:
    """Without the peer's own addresses: it calls on us, and is answered where it called from. So
    no offer makes us knock at an address that somebody names, nor look a name up."""
    return [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))]


def _described(lines: list[str]) -> dict[str, list[str]]:
    """What is said of each payload type."""
    said: dict[str, list[str]] = {}
    for line in lines:
        if (match := _ATTRIBUTE.match(line)) is not None:
            said.setdefault(match[1], []).append(match[2])
    return said


def _video(lines: list[str], stream_profile: str) -> tuple[list[str], str]:
    """The section with the H.264 that fits best, and what repeats its packets."""
    said = _described(lines)
    fitting = [
        (number, _profile_of(texts))
        for number, texts in said.items()
        if any(text.upper().startswith("H264/90000") for text in texts)
        and any("packetization-mode=1" in text for text in texts)
    ]
    if not fitting:
        raise OfferUnusable("H.264 with packetization-mode 1 is not offered", understood=True)

    def distance(one: tuple[str, str]) -> int:
        """The same profile and constraints, the same profile, any baseline, any."""
        offered = one[1].lower()
        same = [offered[:4] == stream_profile[:4], offered[:2] == stream_profile[:2]]
        return [*same, offered[:2] == "42", True].index(True)

    number, profile = min(fitting, key=distance)
    repeats = [n for n, texts in said.items() if f"apt={number}" in texts]
    kept = _only(lines, {number, *repeats})
    renamed = [
        _PROFILE.sub(f"profile-level-id={KNOWN_PROFILE}", line)
        if line.startswith(f"a=fmtp:{number} ")
        else line
        for line in kept
    ]
    return renamed, profile


def _profile_of(texts: list[str]) -> str:
    """Without one it is constrained baseline, level 3.1 (as browsers understand it)."""
    found = (_PROFILE.search(text) for text in texts)
    return next((match[1] for match in found if match is not None), KNOWN_PROFILE)


def _audio(lines: list[str], sound: str) -> tuple[list[str], bool]:
    """The section with the sound as it is, if that is offered; else as it was."""
    wanted = f"{sound.upper()}/8000"
    numbers = {n for n, texts in _described(lines).items() if texts[0].upper().startswith(wanted)}
    return (_only(lines, numbers), True) if numbers else (lines, False)


def _only(lines: list[str], numbers: set[str]) -> list[str]:
    """A section with some of its payload types."""
    head = lines[0].split(" ")
    kept = [" ".join([*head[:3], *(number for number in head[3:] if number in numbers)])]
    for line in lines[1:]:
        match = _ATTRIBUTE.match(line)
        if match is None or match[1] in numbers:
            kept.append(line)
    return kept
