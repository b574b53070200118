"""The files around the code: Compose, locks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def check_compose(file: Path) -> "subprocess.CompletedProcess[str]":
    schema = ("--builtin-schema", "vendor.compose-spec")
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_compose_file_is_of_the_compose_specification(tmp_path: Path) -> None:
    checked = check_compose(ROOT / "docker-compose.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = tmp_path / "docker-compose.yml"
    text = (ROOT / "docker-compose.yml").read_text()
    wrong.write_text(text.replace("volumes:", "volume:", 1))
    assert check_compose(wrong).returncode == 1  # so the check does look


def test_the_compose_file_holds_no_password() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    given = re.findall(r"^ *\w*PASSWORD: (.*)$", text, re.MULTILINE)
    assert given
    assert all(value.startswith("${") and ":?" in value for value in given)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_packages_by_hash_and_no_place_to_get_them(lock: Path) -> None:
    lines = [line.strip() for line in lock.read_text().splitlines()]
    assert not [line for line in lines if "://" in line or line.startswith(("-i", "--index"))]
    pinned = [line for line in lines if re.match(r"[a-z0-9]", line, re.IGNORECASE)]
    assert pinned
    assert all("==" in line and line.endswith("\\") for line in pinned)
    assert sum(line.startswith("--hash=sha256:") for line in lines) >= len(pinned)


def test_the_consoles_lock_names_no_place_to_get_packages() -> None:
    text = (ROOT / "gateway" / "console" / "package-lock.json").read_text()
    assert '"integrity"' in text
    assert '"resolved"' not in text
    assert len(LOCKS) >= 3
