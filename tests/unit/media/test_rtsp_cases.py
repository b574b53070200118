"""What cameras announce, each a folder under tests/cases/rtsp; adding one needs no code.

config.toml: `origin` (captured, published or made), `about`, `reads`. expected.json: what is
read, or `{error, says}`.

- ``description``: input.txt is a session description; `base` is the address that it was asked at.
- ``challenges``: input.txt holds WWW-Authenticate headers, one a line; expected `answer` is how
  our answer for the user ``u`` with the password ``p`` begins.
- ``audio``: input.txt is a session description; the first audio track is read.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import AdapterError
from adapters.media.audio import audio_codec
from adapters.media.digest import Credentials
from adapters.media.native import video_of
from adapters.media.sdp import control_url, parse_sdp
from adapters.rtsp.wire import described_format

CASES = Path(__file__).parents[2] / "cases" / "rtsp"


def _description(config: dict[str, Any], document: bytes) -> Any:
    description = parse_sdp(document)
    media, codec = video_of(description)
    known = described_format(media, codec)
    play = control_url(config["base"], description.control)
    return {
        "reader": "native",
        "codec": codec.name,
        "width": known.width if known else 0,
        "height": known.height if known else 0,
        "fps": media.fps or (known.fps if known else 0.0),
        "clock_rate_hz": media.clock_rate_hz,
        "setup": control_url(play, media.control),
        "play": play,
    }


def _challenges(config: dict[str, Any], document: bytes) -> Any:
    credentials = Credentials("u", "p")
    stale = credentials.take(document.decode().splitlines())
    header = credentials.authorization("DESCRIBE", "rtsp://192.0.2.7/") or ""
    return {"answer": header.partition(", uri=")[0], "stale": stale}


def _audio(config: dict[str, Any], document: bytes) -> Any:
    media = next(media for media in parse_sdp(document).media if media.kind == "audio")
    codec = audio_codec(media)
    track = codec.format(1)
    return {
        "codec": track.codec,
        "sample_rate_hz": track.sample_rate_hz,
        "channels": track.channels,
        "frame_ticks": codec.frame_ticks,
    }


READERS = {"description": _description, "challenges": _challenges, "audio": _audio}


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_case_reads_as_expected(case: str) -> None:
    config = tomllib.loads((CASES / case / "config.toml").read_text("utf-8"))
    assert config["origin"] in ("captured", "published", "made")
    expected = json.loads((CASES / case / "expected.json").read_text("utf-8"))
    read, document = READERS[config["reads"]], (CASES / case / "input.txt").read_bytes()
    if "error" in expected:
        with pytest.raises(AdapterError) as raised:
            read(config, document)
        assert type(raised.value).__name__ == expected["error"]
        assert raised.value.message == expected["says"]
    else:
        assert read(config, document) == expected
