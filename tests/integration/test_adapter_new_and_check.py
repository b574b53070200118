"""`hutong adapter new` makes a package that works; `hutong adapter check` says when it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from adapter_packages import ROOT, Environment

from adapters.testing import AdapterContract
from gateway.adapter_commands import TEMPLATE, CannotMake, WrongName, make_package

HUTONG = ("-m", "gateway.cli", "adapter")
CHECKS = sum(name.startswith("test_") for name in dir(AdapterContract))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def package(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a new kind, made by the command and installed."""
    folder = tmp_path_factory.mktemp("made")
    made = environment.run(*HUTONG, "new", "front_door", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "pip install -e" in made.stdout
    assert "hutong adapter check front_door" in made.stdout
    package = folder / "hutong-front-door"
    environment.install(package)
    return package


@pytest.fixture
def adapter_file(package: Path) -> Iterator[Path]:
    """The source of its adapter, which a test may spoil."""
    file = package / "src" / "hutong_front_door" / "adapter.py"
    before = file.read_text("utf-8")
    yield file
    file.write_text(before, "utf-8")


def test_a_new_package_passes_its_own_tests(environment: Environment, package: Path) -> None:
    tested = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout


def test_a_new_package_is_tidy(environment: Environment, package: Path) -> None:
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    for command in (("check", *config), ("format", "--check", *config)):
        tidy = environment.run("-m", "ruff", *command, ".", cwd=package)
        assert tidy.returncode == 0, tidy.stdout
    files = [each for each in package.rglob("*.*") if each.is_file() and each.suffix != ".pyc"]
    text = "".join(file.read_text("utf-8") for file in files)
    assert "acme" not in text.lower()
    assert "@HUTONG@" not in text


def test_a_new_package_keeps_the_contract(environment: Environment, package: Path) -> None:
    checked = environment.run(*HUTONG, "check", "front_door", cwd=package)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    lines = checked.stdout.splitlines()
    assert lines[0].startswith("front_door: hutong_front_door.adapter.FrontDoorAdapter, can")
    assert sum(" ok " in line for line in lines) == CHECKS
    assert lines[-1] == "front_door keeps the contract, version 1 of the seam"


def test_a_breach_is_told_with_its_reason(environment: Environment, adapter_file: Path) -> None:
    text = adapter_file.read_text("utf-8")
    adapter_file.write_text(text.replace("raise AuthenticationFailed(", "raise Unreachable("))
    checked = environment.run(*HUTONG, "check", "front_door", cwd=adapter_file.parent)
    assert checked.returncode == 1
    broken = [line for line in checked.stdout.splitlines() if "FAILED" in line]
    assert [line.split("  ")[1] for line in broken] == ["a wrong password is not retryable"]
    assert "it refused the user name or password" in checked.stdout
    assert "in test_a_wrong_password" in checked.stdout or "testing.py:" in checked.stdout
    assert checked.stdout.endswith(f"front_door breaks 1 of {CHECKS} checks\n")
    assert "Traceback" not in checked.stdout + checked.stderr


def test_what_cannot_be_imported_is_told(environment: Environment, adapter_file: Path) -> None:
    adapter_file.write_text("import nothing_of_that_name\n")
    checked = environment.run(*HUTONG, "check", "front_door", cwd=adapter_file.parent)
    assert checked.returncode == 1
    assert "nothing_of_that_name" in checked.stdout
    assert "Traceback" not in checked.stdout + checked.stderr


def test_another_version_of_the_seam_is_refused(
    environment: Environment, adapter_file: Path
) -> None:
    text = adapter_file.read_text("utf-8")
    changed = text.replace("seam_version: ClassVar[int] = 1", "seam_version: ClassVar[int] = 2")
    assert changed != text
    adapter_file.write_text(changed)
    checked = environment.run(*HUTONG, "check", "front_door", cwd=adapter_file.parent)
    assert checked.returncode == 1
    assert "written for version 2 of the seam, and this gateway has version 1" in checked.stdout


@pytest.mark.parametrize("kind", ["nothing", "onvif"])
def test_there_must_be_something_to_check(
    environment: Environment, package: Path, kind: str
) -> None:
    checked = environment.run(*HUTONG, "check", kind, cwd=package)
    assert checked.returncode == 2
    assert kind in checked.stdout
    if kind == "nothing":
        assert "front_door" in checked.stdout


@pytest.mark.parametrize("name", ["onvif", "Acme", "2nd", "a-b", "a__b", "class", "a" * 33, ""])
def test_a_name_that_cannot_be_is_refused(
    environment: Environment, tmp_path: Path, name: str
) -> None:
    with pytest.raises(WrongName, match=r"\w \w"):
        make_package(name, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    if name == "Acme":
        made = environment.run(*HUTONG, "new", name, cwd=tmp_path)
        assert made.returncode == 2
        assert made.stderr.startswith("hutong: 'Acme' cannot be the name of a kind")


def test_what_is_there_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hutong-door").mkdir()
    (tmp_path / "hutong-door" / "mine.txt").write_text("kept")
    with pytest.raises(CannotMake, match="hutong-door is there already"):
        make_package("door")
    assert [file.name for file in (tmp_path / "hutong-door").iterdir()] == ["mine.txt"]
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CannotMake, match="cannot be written: Not a directory"):
        make_package("door", tmp_path / "file" / "below")


def test_the_template_travels_with_the_package() -> None:
    """What the wheel holds is what lies in the folder of its module."""
    assert TEMPLATE.is_relative_to(ROOT / "gateway")
    assert {file.suffix for file in TEMPLATE.rglob("*") if file.is_file()} == {".in"}
