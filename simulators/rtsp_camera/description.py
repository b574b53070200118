"""The session descriptions (RFC 4566) of simulated cameras; pure."""

import base64

from simulators.clips import Clip
from simulators.rtsp_camera.rtp import CLOCK_HZ, PAYLOAD_TYPE
from simulators.rtsp_camera.sound import Sound
from simulators.rtsp_camera.spec import RtspQuirks

VIDEO_TRACK, AUDIO_TRACK = "trackID=1", "trackID=2"


def describe(
    clip: Clip, sound: Sound | None, *, host: str, session: int, url: str, quirks: RtspQuirks
) -> bytes:
    """The SDP of a stream. url: what it was asked by, for absolute control addresses."""
    base = url.rstrip("/")
    absolute = quirks.controls == "absolute"
    lines = [
        "v=0",
        f"o=- {session} 1 IN IP4 {host}",
        "s=camera",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"a=control:{base if absolute else '*'}",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"b=AS:{clip.parameters.bitrate_bps // 1000}",
        *_video_lines(clip, with_sets=quirks.sets != "band"),
        f"a=framerate:{clip.parameters.fps}",
        f"a=control:{f'{base}/' if absolute else ''}{VIDEO_TRACK}",
    ]
    if sound is not None:
        lines += [f"m=audio 0 RTP/AVP {sound.payload_type}", *sound.lines]
        lines.append(f"a=control:{f'{base}/' if absolute else ''}{AUDIO_TRACK}")
    return "\r\n".join((*lines, "")).encode()


def _video_lines(clip: Clip, *, with_sets: bool) -> list[str]:
    if clip.parameters.codec == "h265":
        names = ("sprop-vps", "sprop-sps", "sprop-pps")
        pairs = zip(names, map(_base64, clip.parameter_sets), strict=True)
        fmtp = ";".join(f"{name}={value}" for name, value in pairs)
        lines = [f"a=rtpmap:{PAYLOAD_TYPE} H265/{CLOCK_HZ}"]
        return [*lines, f"a=fmtp:{PAYLOAD_TYPE} {fmtp}"] if with_sets else lines
    fmtp = f"packetization-mode=1;profile-level-id={clip.sps[1:4].hex()}"
    if with_sets:
        fmtp += f";sprop-parameter-sets={','.join(map(_base64, clip.parameter_sets))}"
    return [f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}", f"a=fmtp:{PAYLOAD_TYPE} {fmtp}"]


def _base64(nal: bytes) -> str:
    return base64.b64encode(nal).decode()
