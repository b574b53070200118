"""The documents of the MQTT status plugin, as it fills them in. No I/O."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

STATES = {
    -1: "",
    0: "MONITORING",
    1: "RECORDING",
    2: "INACTIVE",
    3: "ACTIVE",
    4: "IDLE",
    6: "STOPPED",
    7: "AVAILABLE",
    8: "IGNORE",
}
MONITORING = {0: "UNSPECIFIED", 4: "NO_RECORDER", 5: "ENCRYPTED", 6: "DUPLICATE", 7: "SUPERSEDED"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A system of the recorder's configuration, in its order. sysid, wacn: hexadecimal."""

    sys_num: int
    sys_name: str
    kind: str = "p25"
    sysid: str = "1AE"
    wacn: str = "BEE00"
    nac: str = "1A1"
    rfss: int = 1
    site_id: int = 1

    @property
    def conventional(self) -> bool:
        return self.kind.startswith("conventional")

    def document(self) -> dict[str, Any]:
        return {
            "sys_num": self.sys_num,
            "sys_name": self.sys_name,
            "type": self.kind,
            "sysid": self.sysid,
            "wacn": self.wacn,
            "nac": self.nac,
            "rfss": self.rfss,
            "site_id": self.site_id,
        }


@dataclasses.dataclass(slots=True, kw_only=True)
class Transmission:
    """One talk inside a call. Times in whole seconds of the recorder's clock."""

    unit: int
    alias: str
    emergency: bool
    start_s: int
    stop_s: int = 0


@dataclasses.dataclass(slots=True, kw_only=True)
class Call:
    """A call in the recorder's list. mon_state: why it is not recorded, 0 if it is."""

    call_num: int
    site: Site
    talkgroup: int
    start_s: int
    encrypted: bool
    mon_state: int
    patches: tuple[int, ...]
    talking: bool = True
    idle_since_s: float = 0.0
    transmissions: list[Transmission] = dataclasses.field(default_factory=list)

    @property
    def emergency(self) -> bool:
        return self.transmissions[-1].emergency

    def subject(self, unit: int | None = None, alias: str = "") -> dict[str, Any]:
        """Who and where; of the last transmission if no unit is named."""
        last = self.transmissions[-1]
        return {
            "sys_num": self.site.sys_num,
            "sys_name": self.site.sys_name,
            "unit": last.unit if unit is None else unit,
            "unit_alpha_tag": last.alias if unit is None else alias,
            "talkgroup": self.talkgroup,
            "talkgroup_alpha_tag": f"TG {self.talkgroup}",
            "talkgroup_description": "",
            "talkgroup_group": "",
            "talkgroup_tag": "",
            "talkgroup_patches": ",".join(str(number) for number in self.patches),
        }

    def granted(self) -> dict[str, Any]:
        """The body of a unit's `call`."""
        return self.subject() | {
            "call_num": self.call_num,
            "freq": 770_581_250.0,
            "encrypted": self.encrypted,
            "start_time": self.start_s,
        }

    def document(self, now_s: int, *, start_shift_s: int = 0) -> dict[str, Any]:
        """The body of `call_start`, and an entry of `calls_active`."""
        recorded = self.mon_state == 0
        rec_state = (1 if self.talking else 4) if recorded else -1
        call_state = 1 if recorded else 0
        start_s = self.start_s + start_shift_s
        return self.subject() | {
            "id": f"{self.site.sys_num}_{self.talkgroup}_{start_s}",
            "call_num": self.call_num,
            "freq": 770_581_250.0,
            "elapsed": now_s - self.start_s,
            "length": float(now_s - self.start_s),
            "call_state": call_state,
            "call_state_type": STATES[call_state],
            "mon_state": self.mon_state,
            "mon_state_type": MONITORING[self.mon_state],
            "audio_type": "digital",
            "phase2_tdma": False,
            "tdma_slot": 0,
            "analog": False,
            "rec_num": 0 if recorded else -1,
            "src_num": 0 if recorded else -1,
            "rec_state": rec_state,
            "rec_state_type": STATES[rec_state],
            "conventional": self.site.conventional,
            "encrypted": self.encrypted,
            "emergency": self.emergency,
            "start_time": start_s,
            "stop_time": self.transmissions[-1].stop_s or now_s,
        }

    def ended(self, now_s: int, *, start_shift_s: int, signal: float) -> dict[str, Any]:
        """The body of `call_end`."""
        return self.document(now_s, start_shift_s=start_shift_s) | {
            "call_state": -1,
            "call_state_type": "COMPLETED",
            "mon_state": 0,
            "mon_state_type": "UNSPECIFIED",
            "rec_state": 6,
            "rec_state_type": "STOPPED",
            "process_call_time": now_s,
            "error_count": 0,
            "spike_count": 0,
            "retry_attempt": 0,
            "freq_error": -40,
            "signal": signal,
            "noise": signal if signal == 999.0 else signal - 40,
            "call_filename": f"/captures/{self.talkgroup}-{self.start_s}.wav",
        }

    def transmitted(self, transmission: Transmission, start_shift_s: int) -> dict[str, Any]:
        """The body of a unit's `end`."""
        return self.subject(transmission.unit, transmission.alias) | {
            "call_num": self.call_num,
            "freq": 770_581_250.0,
            "position": 0.0,
            "length": float(transmission.stop_s - transmission.start_s),
            "emergency": transmission.emergency,
            "encrypted": self.encrypted,
            "start_time": transmission.start_s + start_shift_s,
            "stop_time": transmission.stop_s,
            "error_count": 0,
            "spike_count": 0,
            "sample_count": 8000 * (transmission.stop_s - transmission.start_s),
            "transmission_filename": f"/shm/{self.talkgroup}-{transmission.start_s}.wav",
        }


def active(calls: Sequence[Call], now_s: int) -> list[dict[str, Any]] | None:
    """The list of `calls_active`: null when there is none, as the plugin's library writes it."""
    return [call.document(now_s) for call in calls] or None


def as_strings(value: Any) -> Any:
    """As the plugin wrote before 13 November 2023: every number and truth value is a text."""
    if isinstance(value, dict):
        return {name: as_strings(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_strings(each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(int(value))
    return "" if value is None else value


def wall_s(offset_s: float = 0.0) -> int:
    """The recorder's clock."""
    return int(time.time() + offset_s)
