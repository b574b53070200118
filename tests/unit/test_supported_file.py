"""SUPPORTED.md says what the catalogue, the contracts and the cases show."""

import shutil
from pathlib import Path

import pytest

from adapters.catalog import BUILT_IN
from adapters.supported import FILE, supported

ROOT = Path(__file__).parents[2]


def test_the_file_is_up_to_date() -> None:
    assert (ROOT / FILE).read_text("utf-8") == supported(ROOT), "run python -m adapters.supported"


def test_every_kind_has_a_contract_and_every_case_is_listed() -> None:
    text = supported(ROOT)
    for kind in BUILT_IN:
        row = next(line for line in text.splitlines() if line.startswith(f"| [{kind.name}]("))
        assert "none" not in row.split(" | ")[3]
    for case in (ROOT / "tests" / "cases").glob("*/*/config.toml"):
        assert f"\n| {case.parent.name} | " in text


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the file is made from."""
    for folder in ("tests/contract", "tests/cases", "docs/examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def test_a_new_case_makes_it_stale(tree: Path) -> None:
    before = supported(tree)
    case = tree / "tests" / "cases" / "onvif" / "a-new-one"
    case.mkdir()
    (case / "config.toml").write_text('origin = "captured"\nabout = "this | or that"\n')
    after = supported(tree)
    assert set(after.splitlines()) - set(before.splitlines()) >= {
        "| a-new-one | captured | this \\| or that |"
    }
    assert "1 captured, " in after


def test_a_contract_that_goes_makes_it_stale(tree: Path) -> None:
    before = supported(tree)
    (tree / "tests" / "contract" / "test_zello.py").unlink()
    row = next(line for line in supported(tree).splitlines() if line.startswith("| [zello]("))
    assert row.split(" | ")[3] == "none"
    assert row not in before
