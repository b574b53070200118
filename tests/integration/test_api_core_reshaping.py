"""Moving, renaming, merging and deleting organisations over HTTP."""

from core_api import CoreApi

pytest_plugins = ["core_api"]


async def test_rights_follow_a_move_at_once(core_api: CoreApi) -> None:
    admin, station = await core_api.sign_in("admin"), await core_api.sign_in("station-admin")
    viewer = await core_api.sign_in("viewer")
    point = (await admin("POST", "/points", {"organization": "d/s1/w1", "name": "p"})).body["id"]
    for caller in (station, viewer):
        assert (await caller("GET", f"/points/{point}")).status == 200
    found = await admin("GET", "/organizations/d/s1/w1")
    if_match = {"If-Match": found.headers["ETag"]}
    patch = {"parent": "d/s2", "slug": "room", "name": "New"}
    assert (await station("PATCH", "/organizations/d/s1/w1", {"slug": "w2"})).status == 428
    refused = await station("PATCH", "/organizations/d/s1/w1", {"parent": "d/s2"}, headers=if_match)
    assert refused.status == 404
    stale = await admin("PATCH", "/organizations/d/s1/w1", patch, headers={"If-Match": '"9"'})
    assert stale.status == 412
    moved = await admin("PATCH", "/organizations/d/s1/w1", patch, headers=if_match)
    assert (moved.status, moved.body["path"], moved.body["name"]) == (200, "d/s2/room", "New")
    assert moved.headers["ETag"] == f'"{moved.body["version"]}"'
    assert (await station("GET", f"/points/{point}")).status == 404
    assert (await viewer("GET", f"/points/{point}")).status == 200
    assert (await admin("GET", "/organizations/d/s1/w1")).status == 404
    assert (await admin("GET", "/organizations/d/s2")).body["counts"]["points"] == 1
    taken = await admin(
        "PATCH", "/organizations/d/s2/room", {"slug": "w3"}, headers={"If-Match": "*"}
    )
    assert taken.status == 409


async def test_a_station_renames_what_is_below_it_only(core_api: CoreApi) -> None:
    station = await core_api.sign_in("station-admin")
    any_version = {"If-Match": "*"}
    own = await station("PATCH", "/organizations/d/s1", {"slug": "new"}, headers=any_version)
    assert own.status == 403
    below = await station("PATCH", "/organizations/d/s1/w1", {"slug": "new"}, headers=any_version)
    assert (below.status, below.body["path"]) == (200, "d/s1/new")
    swapped = await station("PATCH", "/organizations/d/s1/new", {"slug": "w2"}, headers=any_version)
    assert swapped.status == 409


async def test_merging(core_api: CoreApi) -> None:
    admin, viewer = await core_api.sign_in("admin"), await core_api.sign_in("viewer")
    point = (await admin("POST", "/points", {"organization": "d/s1/w1", "name": "p"})).body["id"]
    assert (await viewer("POST", "/organizations/d/s1/w1/merge", {"into": "d/s1/w1"})).status == 403
    merged = await admin("POST", "/organizations/d/s1/w1/merge", {"into": "d/s1/w2"})
    assert (merged.status, merged.body["path"]) == (200, "d/s1/w2")
    assert merged.body["counts"]["points"] == 1
    assert merged.body["jurisdiction"]["type"] == "Polygon"
    # The viewer's role was at the one that is gone.
    assert (await viewer("GET", f"/points/{point}")).status == 200
    assert (await admin("GET", "/organizations/d/s1/w1")).status == 404


async def test_deleting_what_owns_something(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    point = (await admin("POST", "/points", {"organization": "d/s2/w3", "name": "p"})).body["id"]
    refused = await admin("DELETE", "/organizations/d/s2/w3")
    assert (refused.status, refused.body["others"]) == (
        409,
        ["1 points", "1 points created here"],
    )
    gone = await admin("DELETE", "/organizations/d/s2/w3", reassign_to="d/s2")
    assert gone.status == 204
    found = (await admin("GET", f"/points/{point}")).body
    assert (found["organization"]["path"], found["assigned_by"]) == ("d/s2", "explicit")
