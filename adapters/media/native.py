"""What the native reader reads: H.264 and H.265 pictures, without decoding."""

from adapters.errors import NotSupported
from adapters.media.h264 import H264
from adapters.media.h265 import H265
from adapters.media.nal import NalCodec
from adapters.media.sdp import Media, SessionDescription


def video_of(description: SessionDescription) -> tuple[Media, NalCodec]:
    """The first video track that the native reader can read. Raises: NotSupported."""
    videos = videos_of(description)
    for media in videos:
        if media.codec == "H264" and media.fmtp.get("packetization-mode", "0") in ("0", "1", ""):
            return media, H264()
        if media.codec in ("H265", "HEVC") and media.fmtp.get("sprop-max-don-diff", "0") == "0":
            return media, H265()
    names = ", ".join(media.codec or "an unnamed codec" for media in videos) or "no video at all"
    raise NotSupported(f"the native reader reads H.264 and H.265; this is {names}")


def videos_of(description: SessionDescription) -> list[Media]:
    """All video tracks, readable or not."""
    return [media for media in description.media if media.kind == "video"]
