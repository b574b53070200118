"""What a session description says about a camera's video. Pure; see `adapters.media` for RTSP."""

from adapters.errors import ProtocolViolation
from adapters.media.nal import NalCodec, VideoFormat
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
