"""Frame rates of H.265 streams: in the video parameter set, or deep within the sequence one."""

from adapters.errors import ProtocolViolation
from adapters.media.bits import BitReader, unescape

MAX_PICTURE_SETS, MAX_PICTURES = 64, 16


def profile_tier_level(bits: BitReader, sub_layers: int) -> bytes:
    """The 12 bytes of the general profile, tier and level; those of sub-layers are skipped."""
    general = bits.read(96).to_bytes(12, "big")
    present = [(bits.flag(), bits.flag()) for _ in range(sub_layers - 1)]
    if sub_layers > 1:
        bits.read(2 * (9 - sub_layers))
    for has_profile, has_level in present:
        if has_profile:
            bits.read(88)
        if has_level:
            bits.read(8)
    return general


def frame_rate_of_vps(vps: bytes) -> float:
    """Frames a second from a video parameter set; 0 where it does not say."""
    try:
        bits = BitReader(unescape(vps[2:]))
        bits.read(12)
        sub_layers = bits.read(3) + 1
        bits.read(17)
        profile_tier_level(bits, sub_layers)
        for _ in range(sub_layers if bits.flag() else 1):
            bits.ue()
            bits.ue()
            bits.ue()
        layers = bits.read(6) + 1
        bits.read(min(bits.ue(), 1023) * layers)
        return _rate(bits) if bits.flag() else 0.0
    except ProtocolViolation:
        return 0.0


def frame_rate_after_depths(bits: BitReader, sub_layers: int, chroma: int) -> float:
    """Frames a second from the rest of a sequence parameter set, which follows the bit depths;
    0 where it does not say. Source: ITU-T H.265 clauses 7.3.2.2 and E.2.1."""
    try:
        _skip_to_usability(bits, sub_layers, chroma)
        return _usability(bits) if bits.flag() else 0.0
    except ProtocolViolation:
        return 0.0


def _rate(bits: BitReader) -> float:
    ticks, scale = bits.read(32), bits.read(32)
    return scale / ticks if ticks and 0 < scale / ticks <= 240 else 0.0


def _skip_to_usability(bits: BitReader, sub_layers: int, chroma: int) -> None:
    order_bits = bits.ue() + 4
    for _ in range(3 * (sub_layers if bits.flag() else 1)):
        bits.ue()
    for _ in range(6):
        bits.ue()
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits, chroma)
    bits.read(2)
    if bits.flag():
        bits.read(8)
        bits.ue()
        bits.ue()
        bits.read(1)
    _skip_picture_sets(bits)
    if bits.flag():
        for _ in range(_bounded(bits.ue(), 32)):
            bits.read(order_bits + 1)
    bits.read(2)


def _skip_scaling_lists(bits: BitReader, chroma: int) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 and chroma != 3 else 6):
            if not bits.flag():
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                bits.se()


def _skip_picture_sets(bits: BitReader) -> None:
    """The sets of reference pictures, each of which may be coded as a change to the one before."""
    before: list[int] = []
    for index in range(_bounded(bits.ue(), MAX_PICTURE_SETS)):
        if index and bits.flag():
            before = _changed_set(bits, before)
            continue
        negative, positive = bits.ue(), bits.ue()
        _bounded(negative + positive, MAX_PICTURES)
        before = [*_distances(bits, negative, -1), *_distances(bits, positive, 1)]


def _distances(bits: BitReader, count: int, sign: int) -> list[int]:
    distances, distance = [], 0
    for _ in range(count):
        distance += sign * (bits.ue() + 1)
        bits.flag()
        distances.append(distance)
    return distances


def _changed_set(bits: BitReader, before: list[int]) -> list[int]:
    sign = -1 if bits.flag() else 1
    shift = sign * (bits.ue() + 1)
    kept = []
    for distance in (*before, 0):
        used = bits.flag()
        if (used or bits.flag()) and distance + shift:
            kept.append(distance + shift)
    _bounded(len(kept), MAX_PICTURES)
    return sorted((d for d in kept if d < 0), reverse=True) + sorted(d for d in kept if d > 0)


def _usability(bits: BitReader) -> float:
    if bits.flag() and bits.read(8) == 255:
        bits.read(32)
    if bits.flag():
        bits.flag()
    if bits.flag():
        bits.read(4)
        if bits.flag():
            bits.read(24)
    if bits.flag():
        bits.ue()
        bits.ue()
    bits.read(3)
    if bits.flag():
        for _ in range(4):
            bits.ue()
    return _rate(bits) if bits.flag() else 0.0


def _bounded(number: int, limit: int) -> int:
    if number > limit:
        raise ProtocolViolation(f"{number} is more than the {limit} that the standard allows")
    return number
