"""How well a talk was received: what its repeater measured, and what was lost on the way. Pure."""

import dataclasses

PROTECTED_BITS = 141
"""Of a voice burst, in which MMDVMHost counts errors: those that the vocoder's code protects."""


@dataclasses.dataclass(slots=True)
class Reception:
    """Of the voice bursts of one talk. received: those that came, each once. The rest is of those
    whose repeater said so."""

    received: int = 0
    checked: int = 0
    wrong_bits: int = 0
    levels: int = 0
    level_sum: int = 0

    def note(self, quality: bytes) -> None:
        """A burst came. quality: the two bytes after it, wrong bits and -dBm, 0 for not measured;
        empty where the repeater sends none."""
        self.received += 1
        if len(quality) != 2:
            return
        self.checked += 1
        self.wrong_bits += quality[0]
        if quality[1]:
            self.levels += 1
            self.level_sum += quality[1]

    @property
    def bit_error_percent(self) -> float | None:
        """None where nothing was measured: a receiver that tells no level may count no errors
        either, and 0 would look like a good one."""
        if not self.levels and not self.wrong_bits:
            return None
        return round(100 * self.wrong_bits / (self.checked * PROTECTED_BITS), 2)

    @property
    def rssi_dbm(self) -> float | None:
        """The mean; None where nothing was measured."""
        return -round(self.level_sum / self.levels, 1) if self.levels else None

    def loss_percent(self, sent: int) -> float | None:
        """sent: how many bursts there must have been, by the numbers of those that came."""
        return round(100 * (1 - self.received / sent), 2) if sent else None
