"""A whole demo whose pictures are judged every few seconds: nothing is wrong with any of them."""

from typing import Any

import pytest
from demo import Demo, running_demo
from patience import wait_until

pytestmark = pytest.mark.timeout(180)


def figures(demo: Demo) -> dict[str, float]:
    text: str = demo.ask("GET", f"={demo.url}/metrics").body.decode()
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def test_pictures_of_the_demo_are_judged_and_fine() -> None:
    often = {"HUTONG_DIAGNOSIS_PERIOD_S": "2"}
    with running_demo("--no-traffic", "--cameras", "6", environment=often) as demo:
        await wait_until(
            lambda: figures(demo)["hutong_diagnosis_looks_total"] >= 16, 60, "sixteen looks"
        )
        seen = figures(demo)
        assert seen["hutong_fleet_devices"] == seen["hutong_fleet_online"] >= 6
        assert seen["hutong_fleet_attempts_highest"] <= seen["hutong_fleet_attempts_limit"]
        assert seen["hutong_diagnosis_points"] >= 6
        assert seen["hutong_diagnosis_no_picture_total"] == 0
        found = {name: value for name, value in seen.items() if "found_total" in name}
        assert len(found) == 9
        assert set(found.values()) == {0.0}, found
        token = demo.token("viewer")
        points: list[dict[str, Any]] = demo.ask("GET", "/points", token=token).body["items"]
        judged = [
            demo.ask("GET", f"/points/{point['id']}/quality", token=token).body
            for point in points
            if point["source"]
        ]
        assert judged
        assert {report["outcome"] for report in judged} == {"judged"}
        assert {len(report["scores"]) for report in judged} == {9}
        assert not any(report["evidence"] for report in judged)
