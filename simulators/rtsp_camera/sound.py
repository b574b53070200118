"""What the microphones of simulated cameras hear: a second of a tone, looped."""

import dataclasses
import functools
import struct
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from simulators.rtsp_camera.spec import AudioCodec

_TONE_HZ: Final = 440
_AAC_RATE_HZ: Final = 16_000
_ENCODERS: Final = {"pcma": "pcm_alaw", "pcmu": "pcm_mulaw", "aac": "aac"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """payloads: of the RTP packets, each `samples` long. lines: of the SDP."""

    payload_type: int
    clock_rate_hz: int
    samples: int
    payloads: tuple[bytes, ...]
    lines: tuple[str, ...]


@functools.cache
def sound(codec: AudioCodec) -> Sound | None:
    """None for a camera without microphone."""
    if not codec:
        return None
    if codec == "aac":
        return _aac()
    packets, _ = _encode(codec, 8_000, 160)
    number = 8 if codec == "pcma" else 0
    return Sound(
        payload_type=number,
        clock_rate_hz=8_000,
        samples=160,
        payloads=packets,
        lines=(f"a=rtpmap:{number} {codec.upper()}/8000",),
    )


def _aac() -> Sound:
    frames, config = _encode("aac", _AAC_RATE_HZ, 1_024)
    # One frame a packet: 16 bits of headers follow, 13 of them the size and 3 the index.
    payloads = tuple(struct.pack(">HH", 16, len(frame) << 3) + frame for frame in frames)
    return Sound(
        payload_type=97,
        clock_rate_hz=_AAC_RATE_HZ,
        samples=1_024,
        payloads=payloads,
        lines=(
            f"a=rtpmap:97 mpeg4-generic/{_AAC_RATE_HZ}/1",
            "a=fmtp:97 streamtype=5;profile-level-id=15;mode=AAC-hbr;sizelength=13;"
            f"indexlength=3;indexdeltalength=3;config={config.hex()}",
        ),
    )


def _encode(codec: AudioCodec, rate_hz: int, samples: int) -> tuple[tuple[bytes, ...], bytes]:
    encoder = av.CodecContext.create(_ENCODERS[codec], "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout = rate_hz, "mono"
    encoder.format = "fltp" if codec == "aac" else "s16"
    encoder.time_base = Fraction(1, rate_hz)
    encoder.open()
    packets = []
    for begin in range(0, rate_hz - samples + 1, samples):
        moments = np.arange(begin, begin + samples) / rate_hz
        tone = 0.3 * np.sin(2 * np.pi * _TONE_HZ * moments)
        values = tone.astype(np.float32) if codec == "aac" else (tone * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values[None], format=encoder.format.name, layout="mono")
        frame.sample_rate, frame.pts = rate_hz, begin
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    packets += [bytes(packet) for packet in encoder.encode(None)]
    return tuple(packets), bytes(encoder.extradata or b"")
