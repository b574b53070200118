"""The catalogue with packages of others in it: good ones, and those that cannot be used."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from adapters import catalog
from adapters.errors import InvalidSettings

SOURCE = """
from pydantic import BaseModel
from adapters.base import Adapter, Emit

class Nothing(BaseModel):
    pass

class Good(Adapter):
    Settings = Nothing
    serves = "ptt"
    async def run(self, emit: Emit) -> None: ...

class Later(Good):
    seam_version = 2

class Bare(Good):
    Settings = object

class Toaster(Good):
    serves = "bread"

good = Good
"""
KINDS = """
[hutong.adapters]
good = catalog_probe:Good
later = catalog_probe:Later
bare = catalog_probe:Bare
toaster = catalog_probe:Toaster
text = catalog_probe:SOURCE
gone = catalog_probe:Gone
away = catalog_probe_of_nobody:Good
broken = catalog_probe_broken:Good
onvif = catalog_probe:Good
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with all of them, on the path."""
    (tmp_path / "catalog_probe.py").write_text(f"SOURCE = 'no adapter'\n{SOURCE}")
    (tmp_path / "catalog_probe_broken.py").write_text("raise RuntimeError('no licence file')")
    metadata = tmp_path / "catalog_probe-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: catalog-probe\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(KINDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog.kinds.cache_clear()
    yield
    catalog.kinds.cache_clear()
    for name in ("catalog_probe", "catalog_probe_broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("packages")
def test_a_package_is_a_kind_like_others() -> None:
    assert catalog.load("good").__name__ == "Good"
    assert catalog.kinds()["good"].serves == "ptt"


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("later", "written for version 2 of the seam, and this gateway has version 1"),
        ("bare", "its Settings are no pydantic model"),
        ("toaster", "it serves none of video, trunk, ptt"),
        ("text", "no subclass of adapters.base.Adapter"),
        ("gone", "Gone"),
        ("away", "catalog_probe_of_nobody"),
        ("broken", "RuntimeError: no licence file"),
    ],
)
def test_what_cannot_be_used_says_why_and_stops_nobody(kind: str, reason: str) -> None:
    assert reason in catalog.kinds()[kind].unavailable
    with pytest.raises(InvalidSettings, match=f"kind '{kind}' cannot be used here") as raised:
        catalog.load(kind)
    assert reason in raised.value.message
    assert catalog.load("rtsp").__name__ == "RtspAdapter"


@pytest.mark.usefixtures("packages")
def test_a_built_in_kind_cannot_be_taken_over() -> None:
    assert catalog.kinds()["onvif"].target.startswith("adapters.onvif.")


def test_a_kind_that_nobody_has_names_those_there_are() -> None:
    with pytest.raises(InvalidSettings, match=r"'acme'; there are homebrew, .*onvif.*rtsp"):
        catalog.load("acme")


def test_the_built_in_kinds_can_be_used() -> None:
    for kind in catalog.BUILT_IN:
        point = EntryPoint(name=kind.name, value=kind.target, group=catalog.ENTRY_POINTS)
        assert not catalog.kind_of(point).unavailable
