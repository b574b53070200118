"""Who is who, by any of their addresses."""

from pathlib import Path

from gateway.interop.definitions import Definitions, DefinitionsFile, UnitDefinition
from gateway.interop.directory import Directory
from gateway.roster import unit_definition
from registry.organizations import OrganizationRef
from registry.units import Unit, UnitAddress

LI = UnitDefinition(id="u1", alias="Li", priority=7, addresses={"dmr": ("11", "12"), "ptt": "li"})


def test_a_unit_is_known_by_all_its_addresses_also_on_one_system() -> None:
    directory = Directory([LI])
    for talker in ("dmr/11", "dmr/12", "ptt/li"):
        assert directory.unit_id(talker) == "u1"
        assert (directory.alias(talker), directory.priority(talker)) == ("Li", 7)
    assert directory.unit_id("dmr/1") == ""
    assert directory.on_system("ptt/li", "dmr") == "dmr/11", "the first of several"
    assert directory.on_system("dmr/12", "dmr") == "dmr/12", "who they are there already"
    assert directory.on_system("dmr/12", "ptt") == "ptt/li"
    assert directory.on_system("dmr/12", "other") == "dmr/12"


def test_several_addresses_are_kept_on_disk(tmp_path: Path) -> None:
    file = DefinitionsFile(tmp_path / "definitions.json")
    file.save(Definitions(units=(LI,)))
    assert file.load() == Definitions(units=(LI,))


def test_the_registrys_addresses_all_come_along() -> None:
    unit = Unit(
        id="u1",
        version=1,
        alias="Li",
        organization=OrganizationRef(id="o", path="d", name="D"),
        priority=7,
        addresses=(
            UnitAddress(system_id="dmr", address="11"),
            UnitAddress(system_id="dmr", address="12"),
            UnitAddress(system_id="ptt", address="li"),
        ),
    )
    assert unit_definition(unit).addresses == {"dmr": ("11", "12"), "ptt": ("li",)}
