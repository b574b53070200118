"""What a session description says about a camera. Pure; see `adapters.media` for RTSP."""

from adapters.errors import NotSupported, ProtocolViolation
from adapters.media.audio import audio_codec
from adapters.media.nal import NalCodec, VideoFormat
from adapters.media.native import video_of
from adapters.media.sdp import Media, SessionDescription

_NAMES = {"H264": "h264", "H265": "h265", "HEVC": "h265", "JPEG": "jpeg", "MP4V-ES": "mpeg4"}


def described_format(media: Media, codec: NalCodec) -> VideoFormat | None:
    """Codec and size from the parameter sets; None where they are left out or unreadable."""
    try:
        return codec.video_format(codec.parameter_sets_of(media.fmtp))
    except ProtocolViolation:
        return None


def codec_name(description: SessionDescription) -> str:
    """The codec of the first video track, in lower case; empty if there is no video."""
    for media in description.media:
        if media.kind == "video":
            return _NAMES.get(media.codec, media.codec.lower())
    return ""


def readable_audio(description: SessionDescription) -> Media | None:
    """The first audio track that is passed on, if there is one."""
    for media in description.media:
        if media.kind == "audio" and not _refusal(media):
            return media
    return None


def oddities(profile: str, description: SessionDescription) -> list[str]:
    """Sentences for a person about what is not read in the usual way."""
    notes = []
    try:
        video_of(description)
    except NotSupported as error:
        notes.append(f"{profile}: its pictures go through PyAV, since {error.message}")
    refusals = [_refusal(media) for media in description.media if media.kind == "audio"]
    if refusals and not readable_audio(description):
        notes.append(f"{profile}: {refusals[0]}")
    return notes


def _refusal(media: Media) -> str:
    try:
        audio_codec(media)
    except (NotSupported, ProtocolViolation) as error:
        return error.message
    return ""
