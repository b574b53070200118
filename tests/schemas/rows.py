"""A small district, a few rows of it in every table, as columns of whatever schema there is.

PYTEST_DONT_REWRITE: the tests import this before pytest does, and it asserts nothing.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, insert, select

AT = datetime(2026, 3, 1, 8, 30, 15, 250_000, tzinfo=UTC)
Row = Mapping[str, Any]


def known(number: int) -> str:
    """An id as ours are, made on 1 March 2026."""
    return f"019ca880-0000-7000-8000-{number:012x}"


DISTRICT, STATION, OTHER, WORKROOM = (known(number) for number in range(1, 5))
CHIEF, WATCH = known(11), known(12)
CAMERA, RADIO = known(21), known(31)
TALKGROUP, GROUP = known(32), known(33)
GATE, CORNER, YARD = known(41), known(42), known(43)
MADE = {"version": 1, "created_at": AT, "updated_at": AT}
SQUARE = {
    "type": "Polygon",
    "coordinates": [[[123.4, 41.8], [123.5, 41.8], [123.5, 41.9], [123.4, 41.9], [123.4, 41.8]]],
}
BOX = {"west_deg": 123.4, "south_deg": 41.8, "east_deg": 123.5, "north_deg": 41.9}


def _organizations() -> Iterator[Row]:
    for id_, kind, name, path, parent, more in (
        (DISTRICT, "district", "沈河区", "shenhe", None, {"region": "210103"}),
        (STATION, "station", "万莲派出所", "shenhe/wanlian", DISTRICT, {"code": "210103590000"}),
        (OTHER, "station", "山东庙派出所", "shenhe/shandongmiao", DISTRICT, {}),
        (
            WORKROOM,
            "workroom",
            "七室",
            "shenhe/wanlian/room-07",
            STATION,
            {"jurisdiction": SQUARE, "area_m2": 92_085_120, **BOX},
        ),
    ):
        yield {
            "id": id_,
            "kind": kind,
            "name": name,
            "slug": path.rpartition("/")[2],
            "path": path,
            "depth": path.count("/") + 1,
            "parent_id": parent,
            "business_group_code": "21010300002150000001" if id_ == STATION else None,
            **more,
            **MADE,
        }


def _points() -> Iterator[Row]:
    for id_, name, owner, by, more in (
        (
            GATE,
            "北门 North gate",
            WORKROOM,
            "polygon",
            {
                "code": "21010300001320000001",
                "longitude": 123.45,
                "latitude": 41.85,
                "device_id": CAMERA,
                "address": "v1",
                "profiles": [{"name": "main", "codec": "h264", "width": 1920, "height": 1080}],
                "capabilities": ["ptz"],
                "status": "online",
                "attributes": {"mac": "00:11:22:33:44:55"},
            },
        ),
        (CORNER, "街角", STATION, "explicit", {"host": "192.0.2.7", "channel_number": 3}),
        (YARD, "大院", DISTRICT, "none", {"longitude": 123.9, "latitude": 41.2, "masked": True}),
    ):
        yield {
            "id": id_,
            "name": name,
            "place": "万莲路 7 号",
            "organization_id": owner,
            "home_id": DISTRICT,
            "assigned_by": by,
            "category": 1,
            "ownership": "public_security",
            "profiles": [],
            "capabilities": [],
            "masked": False,
            "status": "unknown",
            "status_since": AT,
            "status_reason": "",
            "attributes": {},
            **MADE,
            **more,
        }


TABLES: dict[str, list[Row]] = {
    "organizations": list(_organizations()),
    "users": [
        {"id": CHIEF, "name": "chief", "password_hash": "$argon2id$x", "disabled": False, **MADE},
        {"id": WATCH, "name": "值班", "password_hash": "$argon2id$y", "disabled": True, **MADE},
    ],
    "roles": [
        {"user_id": CHIEF, "role": "admin", "organization_id": DISTRICT, "purpose": ""},
        {
            "user_id": WATCH,
            "role": "clear_view",
            "organization_id": STATION,
            "purpose": "case 7",
            "ends_at": AT + timedelta(days=1),
        },
    ],
    "sessions": [
        {
            "id": known(13),
            "user_id": CHIEF,
            "token_hash": bytes(range(32)),
            "signed_in_at": AT,
            "created_at": AT,
            "expires_at": AT + timedelta(hours=12),
        }
    ],
    "tokens": [
        {
            "id": known(14),
            "user_id": CHIEF,
            "name": "export",
            "token_hash": bytes(range(32, 64)),
            "narrowed": True,
            "ends_at": AT + timedelta(days=90),
            "last_used_at": AT + timedelta(hours=1),
            "created_by_id": CHIEF,
            "created_by_name": "chief",
            **MADE,
        }
    ],
    "token_roles": [{"token_id": known(14), "role": "viewer", "organization_id": STATION}],
    "devices": [
        {
            "id": CAMERA,
            "adapter": "onvif",
            "endpoint": "http://192.0.2.7/onvif/device_service",
            "name": "north",
            "organization_id": WORKROOM,
            "username": "admin",
            "secret": b"\x01sealed",
            "settings": {"timeout_s": 5},
            "manufacturer": "Example",
            "model": "IPC-1",
            "serial": "S1",
            "firmware": "1.2",
            "endpoint_reference": "urn:uuid:1",
            "clock_offset_s": 1.5,
            "status": "online",
            "status_since": AT,
            "last_error": "",
            "sources": [{"address": "v1", "name": "one", "channel_number": None}],
            **MADE,
        }
    ],
    "systems": [
        {
            "id": RADIO,
            "adapter": "homebrew",
            "name": "trunk",
            "organization_id": STATION,
            "settings": {"port": 62031},
            "secrets": b"\x01sealed",
            "enabled": True,
            **MADE,
        }
    ],
    "channels": [
        {
            "id": id_,
            "system_id": RADIO,
            "address": address,
            "name": name,
            "organization_id": STATION,
            "kind": "trunk",
            "priority": 3,
            "gateway_unit_id": "9990",
            "hold_s": 1.5,
            "echo_s": None,
            "measured_echo_s": 0.42,
            "air": "",
            **MADE,
        }
        for id_, address, name in ((TALKGROUP, "1/3101", "一组"), (GROUP, "1/3102", "二组"))
    ],
    "patches": [
        {
            "id": known(34),
            "name": "joined",
            "organization_id": STATION,
            "enabled": True,
            "hang_s": 2.0,
            "max_talk_s": 60.0,
            "queue": False,
            "until": None,
            "schedule": {"days": [1, 2, 3], "from": "08:00", "to": "20:00"},
            "voice": "silence",
            "options": {},
            **MADE,
        }
    ],
    "patch_members": [
        {
            "patch_id": known(34),
            "channel_id": channel,
            "position": position,
            "direction": "both",
            "priority": 0,
            "muted": False,
        }
        for position, channel in enumerate((TALKGROUP, GROUP))
    ],
    "units": [
        {"id": known(35), "alias": "巡逻一", "organization_id": STATION, "priority": 5, **MADE}
    ],
    "unit_addresses": [{"system_id": RADIO, "address": "3101001", "unit_id": known(35)}],
    "levels": [
        {
            "id": known(36),
            "organization_id": STATION,
            "name": "一级",
            "rank": 1,
            "plan": {"steps": []},
            **MADE,
        }
    ],
    "applied_levels": [
        {
            "organization_id": STATION,
            "level_id": known(36),
            "applied_at": AT,
            "applied_by_id": CHIEF,
            "applied_by_name": "chief",
            "before": [],
            "after": [],
        }
    ],
    "points": list(_points()),
    "point_quality": [
        {
            "point_id": GATE,
            "thresholds": {},
            "outcome": "judged",
            "reason": "",
            "scores": {},
            "faults": [],
        }
    ],
    "point_masks": [
        {
            "point_id": YARD,
            "version": 1,
            "polygons": [[[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]],
            "presets": {},
            "updated_at": AT,
        }
    ],
    "shares": [
        {
            "id": known(51),
            "owner_id": WORKROOM,
            "point_id": GATE,
            "receiver_id": OTHER,
            "purpose": "case 7",
            "approved_by_id": CHIEF,
            "approved_by_name": "chief",
            "starts_at": AT,
            "ends_at": AT + timedelta(days=7),
            "ptz": True,
            **MADE,
        },
        {
            "id": known(52),
            "owner_id": STATION,
            "receiver_id": OTHER,
            "purpose": "festival",
            "approved_by_id": CHIEF,
            "approved_by_name": "chief",
            "starts_at": AT,
            "ends_at": AT + timedelta(days=7),
            "ptz": False,
            **MADE,
        },
    ],
    "walls": [{"id": known(81), "user_id": CHIEF, "name": "值班室", "tiles": 4, **MADE}],
    "wall_places": [
        {"wall_id": known(81), "place": place, "point_id": point}
        for place, point in ((0, GATE), (3, CORNER))
    ],
    "tours": [
        {
            "id": known(82),
            "organization_id": STATION,
            "name": "夜巡",
            "dwell_s": 15,
            "on_duty": True,
            **MADE,
        }
    ],
    "tour_groups": [
        {"tour_id": known(82), "position": turn, "name": name}
        for turn, name in enumerate(("一组", "二组"))
    ],
    "tour_stops": [
        {"tour_id": known(82), "turn": turn, "place": 0, "point_id": point}
        for turn, point in enumerate((GATE, YARD))
    ],
    "jobs": [
        {
            "id": known(61),
            "kind": "import",
            "state": "done",
            "done": 3,
            "total": 3,
            "report": {"created": 3},
            "user_id": CHIEF,
            "idempotency_key": "k1",
            "node": "node-1",
            "interrupted": False,
            "created_at": AT,
            "updated_at": AT,
        }
    ],
    "changes": [
        {
            "id": known(71),
            "at": AT,
            "user_id": CHIEF,
            "user_name": "chief",
            "action": "update",
            "kind": "point",
            "object_id": GATE,
            "organization_path": "shenhe/wanlian/room-07",
            "details": {"name": ["旧", "北门 North gate"]},
        }
    ],
}
"""By table, in an order that foreign keys allow. A schema gets the columns that it has; a table
that triggers fill is not here."""


def fill(connection: Connection) -> None:
    """Put the rows into the tables that this schema has."""
    found = MetaData()
    found.reflect(connection)
    sqlite = connection.dialect.name == "sqlite"
    for name, given in TABLES.items():
        if name in found.tables:
            table = found.tables[name]
            for row in given:
                own = {column: value for column, value in row.items() if column in table.c}
                values = {c: _as_stored(v) if sqlite else v for c, v in own.items()}
                connection.execute(insert(table).values(values))


def _as_stored(value: object) -> object:
    """Times as our own columns write them on SQLite: UTC, without a zone."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def contents(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables that `TABLES` names, by their columns."""
    found = MetaData()
    found.reflect(connection)
    return {
        name: [
            dict(row._mapping)
            for row in connection.execute(select(table).order_by(*table.primary_key.columns))
        ]
        for name, table in found.tables.items()
        if name in TABLES
    }
