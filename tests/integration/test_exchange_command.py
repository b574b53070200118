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


def test_exit_codes_and_reports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "points.csv"
    file.write_text("名称,经度,纬度\n一,1,1\n二,x,1\n", "utf-8")
    importing = ("import", "points", file, "-o", "d")
    refused = run(*importing)
    assert refused.exit_code == 1
    assert "第 3 行，经度 'x'：不是数字" in refused.stdout
    assert "新增 1，更新 0，未变 0，拒绝 1（没有写入）；使用 --partial" in refused.stdout
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
    assert (
        "新增 1，更新 0，未变 1，拒绝 0（试运行，没有写入）" in run(*importing, "--dry-run").stdout
    )
    assert run(*importing).exit_code == 0
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
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
    before = good.read_bytes()
    for option in ("--report", "--copy"):
        for place in (good, folder, folder / "none" / "x"):
            assert run("import", "points", good, "-o", "d", option, place).exit_code == 2
    assert good.read_bytes() == before
    assert run("export", "points", folder / "points.xls").exit_code == 2
    assert run("export", "points", folder / "none" / "points.csv").exit_code == 2


def test_what_cannot_be_exported_leaves_what_was_there(folder: Path) -> None:
    file = folder / "export.csv"
    file.write_text("from yesterday")
    failed = run("export", "points", file, "-o", "nobody")
    assert failed.exit_code == 1
    assert file.read_text() == "from yesterday"
    assert [each.name for each in folder.iterdir() if "export" in each.name] == ["export.csv"]


def test_every_refused_row_is_in_the_report_and_few_are_shown(folder: Path) -> None:
    file, report = folder / "points.csv", folder / "report.json"
    file.write_text("名称,经度,纬度,什么\n" + "一,x,y,z\n" * 50, "utf-8")
    refused = run("import", "points", file, "-o", "d", "--report", report)
    assert refused.exit_code == 1
    assert refused.stdout.count("不是数字") == 40
    assert "另有 30 行" in refused.stdout
    assert "未导入的列：什么" in refused.stdout
    document = json.loads(report.read_text("utf-8"))
    assert document["refused"] == 50
    assert [each["row"] for each in document["refusals"]][::3] == list(range(2, 52))
