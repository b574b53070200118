"""What `hutong adapter check` says of packages whose contract is missing, wrong or broken."""

import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import checking

SOURCE = """
import asyncio, time
from pydantic import BaseModel
from adapters.base import Adapter, Emit
from adapters.testing import AdapterContract, Peer

class Nothing(BaseModel):
    pass

class Probe(Adapter):
    Settings = Nothing
    async def run(self, emit: Emit) -> None: ...

class Other(Probe):
    pass

class ProbePeer(Peer):
    adapter = Probe
    secrets = ()
    def settings(self): ...
    def wrong_password(self): ...
    async def send_garbage(self): ...
    async def send_good(self): ...

class Contract(AdapterContract):
    def peer(self):
        return ProbePeer()
    def test_of_its_own(self):
        print("not shown")

for name in [name for name in dir(AdapterContract) if name.startswith("test_")]:
    setattr(Contract, name, lambda self: None)

class Broken(Contract):
    def test_without_a_word(self):
        assert 1 == 2
    def test_in_a_group(self):
        raise ExceptionGroup("two", [ValueError("first wrong"), AssertionError("second wrong")])
    def test_busy_for_ever(self):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass

class Stranger(Contract):
    def peer(self):
        peer = ProbePeer()
        peer.adapter = Other
        return peer

class Peerless(AdapterContract):
    pass
"""
NAMES = ("Contract", "Broken", "Stranger", "Peerless", "Probe", "Gone")
METADATA = "Metadata-Version: 2.1\nName: checking-probe\nVersion: 1.0\n"


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with a kind for each contract, by its name in lower case, and one without."""
    (tmp_path / "checking_probe.py").write_text(SOURCE)
    folder = tmp_path / "checking_probe-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA)
    adapters = [f"{name.lower()} = checking_probe:Probe" for name in (*NAMES, "bare")]
    contracts = [f"{name.lower()} = checking_probe:{name}" for name in NAMES]
    lines = ["[hutong.adapters]", *adapters, "[hutong.contracts]", *contracts]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("checking_probe", None)


def checked(kind: str) -> tuple[int, list[str]]:
    out = io.StringIO()
    code = checking.check(kind, out)
    return code, out.getvalue().splitlines()


def test_checks_of_its_own_count_and_come_last() -> None:
    code, lines = checked("contract")
    assert code == checking.KEPT
    assert lines[0] == "contract: checking_probe.Probe, can only run"
    assert lines[-2].split() == ["of", "its", "own", "ok", "0.0", "s"]
    assert lines[-1] == "contract keeps the contract, version 1 of the seam"
    assert not any("not shown" in line for line in lines)


def test_each_breach_is_told_so_that_it_can_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "CHECK_LASTS_S", 0.2)
    code, lines = checked("broken")
    assert code == checking.BROKEN
    text = "\n".join(lines)
    assert "without a word" in text
    assert "AssertionError: assert 1 == 2" in text
    assert "ValueError: first wrong" in text
    assert "      second wrong" in text
    assert "it was still busy after 0.2 s, and blocked everything" in text
    assert "in test_without_a_word" in text
    assert lines[-1].startswith("broken breaks 3 of ")


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("bare", checking.NOTHING, "'bare' as an entry point of the group 'hutong.contracts'"),
        ("nobody", checking.NOTHING, "'nobody' as an entry point of the group 'hutong.adapters'"),
        ("rtsp", checking.NOTHING, "rtsp comes with the gateway"),
        ("peerless", checking.BROKEN, "does not say its peer"),
        ("probe", checking.BROKEN, "is no subclass of adapters.testing.AdapterContract"),
        ("gone", checking.BROKEN, "cannot be imported: AttributeError"),
        ("stranger", checking.BROKEN, "is for another class than"),
    ],
)
def test_what_cannot_be_checked_says_why(kind: str, code: int, reason: str) -> None:
    given, lines = checked(kind)
    assert given == code
    assert len(lines) == 1
    assert reason in lines[0]


def test_without_pytest_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    code, lines = checked("contract")
    assert code == checking.BROKEN
    assert "needs pytest" in lines[0]


def test_it_is_used_with_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert checking.main([]) == checking.NOTHING
    assert "KIND" in capsys.readouterr().err
