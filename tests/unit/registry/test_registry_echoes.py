"""What a test measured of a channel's echo: kept, told, forgotten; on both databases."""

from typing import Any

import pytest
from databases import Registry
from test_registry_radio import channel, district, somebody, trunk

from registry import changes, channels
from registry.errors import Invalid
from registry.partition import SYSTEM, Role
from registry.systems import System

pytest_plugins = ["databases"]
__all__ = ["district", "trunk"]
DISPATCHER = somebody(Role.DISPATCHER, "d")


def shown(registry: Registry, channel_id: str) -> tuple[Any, ...]:
    found = registry(channels.get, SYSTEM, channel_id)
    return found.echo_s, found.measured_echo_s, found.echo_in_use_s


def test_a_measured_echo_is_kept_with_a_margin_and_a_person_goes_first(
    district: Registry, trunk: System
) -> None:
    a, b = channel(district, trunk, "a"), channel(district, trunk, "b")
    assert shown(district, a.id) == (None, None, None)
    measured = {a.id: 0.81234, "01890000-0000-7000-8000-000000000009": 1.0}
    assert district(channels.note_echoes, DISPATCHER, measured) == (a.id,)
    assert shown(district, a.id) == (None, 0.812, pytest.approx(1.115))
    assert shown(district, b.id) == (None, None, None)
    assert district(channels.get, SYSTEM, a.id).version == a.version + 1
    # The same again is nothing new, and writes nothing.
    assert district(channels.note_echoes, DISPATCHER, measured) == ()
    noted = [each for each in district(changes.page, SYSTEM).items if each.action == "measure"]
    assert [(each.object_id, each.user_name) for each in noted] == [(a.id, DISPATCHER.name)]
    assert noted[0].details == {"measured_echo_s": [None, 0.812]}
    district(channels.update, SYSTEM, a.id, {"echo_s": 6.0})
    assert shown(district, a.id) == (6.0, 0.812, 6.0)
    district(channels.update, SYSTEM, a.id, {"echo_s": None})
    assert shown(district, a.id)[2] == pytest.approx(1.115)
    district(channels.update, SYSTEM, a.id, {"measured_echo_s": None})
    assert shown(district, a.id) == (None, None, None)
    with pytest.raises(Invalid, match="a test measures it"):
        district(channels.update, SYSTEM, a.id, {"measured_echo_s": 1.0})


@pytest.mark.parametrize(("heard_s", "used_s"), [(0.004, 0.2), (29.0, 30.0), (900.0, 30.0)])
def test_what_is_measured_counts_within_bounds(
    district: Registry, trunk: System, heard_s: float, used_s: float
) -> None:
    a = channel(district, trunk, "a")
    district(channels.note_echoes, DISPATCHER, {a.id: heard_s})
    assert shown(district, a.id)[2] == used_s
