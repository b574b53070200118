"""The same talkgroup by two ways: what one member keys would come back through another one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from registry.errors import Conflict
from registry.models import CHANNELS, PATCH_MEMBERS

KEYED = ("both", "listen")
HEARD = ("both", "talk")
_C = CHANNELS.c
_M = PATCH_MEMBERS.c


def check_members(connection: Connection, members: Sequence[tuple[str, str]]) -> None:
    """members: (channel id, direction) of one patch.

    Raises: Conflict for a member that is heard, and listens to the very talkgroup that another
    one keys: whatever we key would come back through it.
    """
    wanted = _C.id.in_([channel_id for channel_id, _ in members]) & (_C.air != "")
    found = connection.execute(select(_C.id, _C.air, _C.name).where(wanted)).all()
    rows = {row.id: row for row in found}
    told = [(rows[channel_id], way) for channel_id, way in members if channel_id in rows]
    for heard in (row for row, way in told if way in HEARD):
        for keyed in (row for row, way in told if way in KEYED):
            if heard.id != keyed.id and heard.air == keyed.air:
                _refuse(heard, keyed)


def check_channel(connection: Connection, channel_id: str) -> None:
    """As `check_members`, of every patch that a channel is in. Raises: Conflict."""
    patches = connection.scalars(select(_M.patch_id).where(_M.channel_id == channel_id)).all()
    for patch_id in sorted(patches):
        members = connection.execute(
            select(_M.channel_id, _M.direction).where(_M.patch_id == patch_id).order_by(_M.position)
        )
        check_members(connection, [(row.channel_id, row.direction) for row in members])


def _refuse(heard: Any, keyed: Any) -> None:
    raise Conflict(
        f"the channel {heard.name} listens to {heard.air}, which is keyed as {keyed.name}: "
        "what we key would come back",
        other=keyed.id,
    )
