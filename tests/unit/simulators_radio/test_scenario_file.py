"""Scenario files: what is read, and what is said of a bad one."""

from pathlib import Path
from typing import get_args

import pytest

from simulators import scenario
from simulators.scenario import BadScenario

GOOD = """
cameras:
  discovery: {port: 0}
  onvif:
    - &gate {name: gate, username: admin, password: p1, ptz: true, quirks: {silent: true}}
    - {<<: *gate, name: yard}
  rtsp:
    - {name: old, username: u, password: p}
homebrew:
  master: {host: gateway, port: 62031}
  repeaters:
    - id: 460001
      passphrase: secret
      station: {colour_code: 7, location: 万莲}
      radios: [{id: 1001, alias: 李警官}, {id: 1002, talkgroups: [101]}]
zello:
  accounts: {gateway: g4te}
  channels: [巡逻, Duty]
  phones: [{name: wang}, {name: lee, channels: [Duty]}]
timeline:
  - {at_s: 1, every_s: 10, action: talk, radio: 1001, talkgroup: 101, slot: 2, seconds: 3}
  - {action: press, phone: wang, channel: 巡逻}
  - {action: power_off, camera: yard}
  - {action: drop_connections}
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(BadScenario) as bad:
        scenario.parse(text, "d.yaml")
    return list(bad.value.problems)


def test_a_good_file() -> None:
    read = scenario.parse(GOOD)
    assert [spec.name for spec in read.cameras.onvif] == ["gate", "yard"]
    assert read.cameras.onvif[1].serial == "SIM-yard"
    assert read.cameras.onvif[1].quirks.silent
    assert read.homebrew.repeaters[0].station.colour_code == 7
    assert read.homebrew.repeaters[0].radios[1].talkgroups == (101,)
    assert read.zello[0].accounts == {"gateway": "g4te"}
    assert [step.action for step in read.timeline] == [
        "talk",
        "press",
        "power_off",
        "drop_connections",
    ]
    assert scenario.parse("") == scenario.Scenario()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1,\nb: 2", "d.yaml:2:5: expected ',' or ']'"),
        ("zelo: {}", "d.yaml:1:1: zelo: extra inputs"),
        ("- 1", "d.yaml:1:1: input should be"),
        ("homebrew:\n  master: {port: x}", "d.yaml:2:12: homebrew.master.port: input should be"),
        (
            "homebrew:\n  repeaters:\n    - id: 5\n",
            "d.yaml:3:7: homebrew.repeaters[0].passphrase: field required",
        ),
        (
            "cameras:\n  onvif:\n  - {name: a, username: b, password: c, quirks: {shy: true}}",
            "d.yaml:3:50: cameras.onvif[0].quirks.shy: unexpected keyword",
        ),
        (
            "zello:\n  channels: [a]\n  phones: [{name: x, channels: [b]}]",
            "d.yaml:3:22: zello[0].phones[0].channels: there is no channel 'b'",
        ),
        (
            "zello:\n  channels: [a]\n  phones: [{name: x}, {name: x}]",
            "d.yaml:3:24: zello[0].phones[1].name: x is used twice",
        ),
        ("timeline:\n- {action: plug, repeater: 5}", "d.yaml:2:18: timeline[0].repeater: there is"),
        (
            "timeline:\n- {action: duplicate, repeater: 5, active: true}",
            "d.yaml:2:3: timeline[0]: duplicate takes",
        ),
        ("timeline:\n- {action: dance}", "d.yaml:2:4: timeline[0].action: input should be"),
        ("timeline:\n- {action: talk, radio: 5}", "d.yaml:2:3: timeline[0]: talk takes"),
        ("timeline:\n- {action: vanish, slot: 1, radio: 5}", "d.yaml:2:3: timeline[0]: vanish"),
        (
            "timeline:\n- {action: drop_connections, at_s: -1}",
            "d.yaml:2:30: timeline[0].at_s: input should be greater",
        ),
        ("control: {host: 0.0.0.0}", "d.yaml:1:11: control.host: input should be '127.0.0.1'"),
        ("control: {port: 1, port: 2}", "d.yaml:1:11: control.port: stands here twice"),
    ],
)
def test_what_is_wrong_and_where(text: str, problem: str) -> None:
    found = problems_of(text)
    assert len(found) == 1, found
    assert found[0].startswith(problem), found


def test_a_phone_that_is_not_on_the_channel() -> None:
    text = GOOD + "  - {action: press, phone: lee, channel: 巡逻}\n"
    assert problems_of(text)[0].endswith("timeline[4].channel: lee is not on '巡逻'")


def test_every_problem_is_told_at_once() -> None:
    text = "homebrew:\n  repeaters:\n  - {id: 0, passphrase: x}\n  - {id: 1}\nzello: {port: -1}"
    assert len(problems_of(text)) == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match="No such file"):
        scenario.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadScenario, match="not UTF-8"):
        scenario.load(tmp_path / "latin.yaml")
    with pytest.raises(BadScenario, match="Is a directory"):
        scenario.load(tmp_path)


def test_the_readme_shows_a_file_that_works() -> None:
    readme = Path(scenario.__file__).with_name("README.md").read_text(encoding="utf-8")
    example = readme.split("```yaml\n")[1].split("```")[0]
    read = scenario.parse(example, "README.md")
    assert len(read.cameras.onvif) == 4
    actions = set(get_args(scenario.Action))
    documented = readme.split("| action | needs |")[1].split("##")[0]
    assert {action for action in actions if f"`{action}`" not in documented} == set()
