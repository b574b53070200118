"""The bridge's own copy of what the registry says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    DefinitionsFile,
    PatchDefinition,
    PatchMember,
    UnitDefinition,
)
from gateway.interop.model import Direction, Voice


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    known = Definitions(
        channels=(ChannelDefinition(id="c", name="C", org="d", system_id="s"),),
        patches=(
            PatchDefinition(
                id="p",
                name="P",
                org="d",
                hang_s=1.0,
                max_talk_s=60.0,
                queue=True,
                voice=Voice.SILENCE,
                members=(PatchMember(channel="c", direction=Direction.TALK),),
                until=datetime(2027, 1, 1, tzinfo=UTC),
            ),
        ),
        units=(UnitDefinition(alias="A", priority=3, addresses={"s": "7"}),),
    )
    file = DefinitionsFile(tmp_path / "definitions.json")
    file.save(known)
    assert file.load() == known


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b'{"channels":1}',
        b'{"patches":[{"id":"p","name":"n","org":"d","hang_s":1,"max_talk_s":1,"queue":false,'
        b'"voice":"of a later version","members":[]}]}',
    ],
    ids=["empty", "not JSON", "other shape", "unknown word"],
)
def test_a_definitions_file_that_cannot_be_read_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "definitions.json"
    path.write_bytes(content)
    assert DefinitionsFile(path).load() is None
    assert DefinitionsFile(tmp_path).load() is None
