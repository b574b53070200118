"""Header names of points in files: one table of aliases, English, Chinese, pinyin initials."""

import dataclasses
import re
import unicodedata
from collections.abc import Mapping, Sequence

from registry.exchange.coordinates import System
from registry.machine_file import ATTRIBUTES

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "point id", "编号id", "点位id"),
    "code": (
        *("code", "gb code", "gb28181", "device id", "gbid", "sbbm", "设备编码", "设备编号"),
        *("国标编码", "国标编号", "国标id", "点位编码", "编码"),
    ),
    "name": (
        *("name", "device name", "point name", "sbmc", "设备名称", "点位名称", "名称"),
        *("摄像机名称", "监控点名称"),
    ),
    "place": (
        *("place", "address", "street address", "azdz", "安装地址", "地址", "详细地址", "点位地址"),
        "安装位置",
    ),
    "longitude": ("longitude", "lon", "lng", "long", "x", "jd", "经度"),
    "latitude": ("latitude", "lat", "y", "wd", "纬度"),
    "category": ("category", "point type", "jkdwlx", "监控点位类型", "点位类型", "点位类别"),
    "ownership": ("ownership", "owner type", "权属", "资源归属", "建设性质", "归属类型"),
    "host": (
        *("host", "ip", "ip address", "ipv4", "ipv4 address", "ipv4dz", "ipdz", "ip地址"),
        *("ipv4地址", "设备ip", "主机"),
    ),
    "channel_number": ("channel", "channel number", "tdh", "通道号", "通道", "通道编号"),
    "masked": ("masked", "privacy", "隐私遮挡", "遮挡"),
    "organization": ("organization", "organisation", "org", "组织", "所属组织", "所属警务室"),
    "assigned_by": ("assigned by", "分配方式"),
    "attributes": ("attributes", "其他属性"),
    **{
        f"attributes.{each.name}": (each.name, each.initials, each.chinese)
        for each in ATTRIBUTES.values()
    },
    "attributes.region": ("region", "civil code", "xzqy", "xzqh", "行政区域", "行政区划"),
    "attributes.manufacturer": ("manufacturer", "vendor", "sbcs", "设备厂商", "厂商", "品牌"),
}
IGNORED = frozenset({"status", "status_since"})
"""Columns that an export writes for its reader."""

_SYSTEMS: tuple[tuple[re.Pattern[str], System], ...] = (
    (re.compile("gcj02|火星|高德"), "gcj02"),
    (re.compile("bd09|百度"), "bd09"),
    (re.compile("wgs84|gps"), "wgs84"),
)
_NOISE = re.compile(r"[\s_\-*:.\"'()\[\]{}/\\]+|坐标系?$|必填|选填")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of a sheet hold. fields: index to our field name. headers: all as they
    stand. system: where the headers say it. ignored: headers that nothing of ours is called.
    repeated: headers that say again what another column says. contradicts: longitude and latitude
    state different systems."""

    headers: tuple[str, ...]
    fields: Mapping[int, str]
    system: System | None
    ignored: tuple[str, ...]
    repeated: tuple[str, ...]
    contradicts: bool = False


def _plain(header: str) -> str:
    return _NOISE.sub("", unicodedata.normalize("NFKC", header).casefold())


_BY_ALIAS: Mapping[str, str] = {
    _plain(alias): field for field, aliases in ALIASES.items() for alias in aliases
}


def field_of(header: str) -> tuple[str | None, System | None]:
    """Our field of that header, and the coordinate system it states; None for neither."""
    plain = _plain(header)
    if plain in _BY_ALIAS:
        return _BY_ALIAS[plain], None
    for pattern, system in _SYSTEMS:
        field = _BY_ALIAS.get(pattern.sub("", plain))
        if field in ("longitude", "latitude") and pattern.search(plain):
            return field, system
    return None, None


def read_header(headers: Sequence[str]) -> Columns:
    """What the columns below these headers hold."""
    fields: dict[int, str] = {}
    systems: set[System] = set()
    ignored, repeated = [], []
    for index, header in enumerate(headers):
        field, system = field_of(header)
        if field is None:
            if header.strip() and header.strip() not in IGNORED:
                ignored.append(header)
        elif field in fields.values():
            repeated.append(header)
        else:
            fields[index] = field
            if system is not None:
                systems.add(system)
    return Columns(
        headers=tuple(headers),
        fields=fields,
        system=systems.pop() if len(systems) == 1 else None,
        ignored=tuple(ignored),
        repeated=tuple(repeated),
        contradicts=len(systems) > 1,
    )
