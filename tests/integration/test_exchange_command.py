"""`hutong import points` and `hutong export points` as a person runs them."""

import csv
import json
from pathlib import Path

import pytest
from databases import migrate
from typer.testing import CliRunner, Result

from gateway.cli import app
from registry import organizations
from registry.database import Database
from registry.organizations import NewOrganization
from registry.partition import SYSTEM


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    monkeypatch.setenv("HUTONG_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("HUTONG_DATABASE_URL", url)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    migrate(url)
    database = Database(url)
    new = NewOrganization(kind="district", name="d", slug="d")
    database.write_now(lambda connection: organizations.create(connection, SYSTEM, new))
    database.close_now()
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_exit_codes_and_reports(folder: Path) -> None:
    file = folder / "points.csv"
    file.write_text("名称,经度,纬度\n一,1,1\n二,x,1\n", "utf-8")
    importing = ("import", "points", file, "-o", "d")
    refused = run(*importing)
    assert refused.exit_code == 1
    assert "row 3, 经度 'x': 不是数字" in refused.stdout
    assert "nothing was written" in refused.stdout
    report, copy = folder / "report.json", folder / "copy.csv"
    part = run(*importing, "--partial", "--report", report, "--copy", copy)
    assert part.exit_code == 3, part.output
    assert json.loads(report.read_text("utf-8"))["refusals"][0]["row"] == 3
    with copy.open(encoding="utf-8-sig", newline="") as opened:
        assert list(csv.reader(opened)) == [
            ["原因", "名称", "经度", "纬度"],
            ["", "一", "1", "1"],
            ["经度：不是数字", "二", "x", "1"],
        ]
    file.write_text("名称,经度,纬度\n一,1,1\n二,2,1\n", "utf-8")
    assert "1 created" in run(*importing, "--dry-run").stdout
    assert run(*importing).exit_code == 0
    assert "2 unchanged" in run(*importing).stdout
    for suffix in ("csv", "xlsx", "geojson"):
        exported = folder / f"export.{suffix}"
        assert "2 points written" in run("export", "points", exported).stdout
        again = run("import", "points", exported, "-o", "d")
        assert again.exit_code == 0
        assert "2 unchanged" in again.stdout


def test_wrong_usage(folder: Path) -> None:
    file = folder / "points.xls"
    file.write_text("name\na\n")
    assert run("import", "points", file, "-o", "d").exit_code == 2
    good = file.rename(folder / "points.csv")
    assert run("import", "points", good, "-o", "d", "--coordinates", "x").exit_code == 2
    assert run("import", "points", folder / "none.csv", "-o", "d").exit_code == 2
