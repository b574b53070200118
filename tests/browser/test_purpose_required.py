"""An administrator has an organisation's cameras ask why somebody watches."""

import pytest
from playwright.async_api import expect
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser


async def test_an_admin_has_cameras_ask_for_a_purpose(visitors: Visitors) -> None:
    admin = await visitors.of("admin")
    await admin.sign_in()
    rows = admin.page.locator("[data-test=organization]")
    await expect(rows.nth(1)).to_be_visible()
    path = await rows.nth(1).get_attribute("data-path")
    await rows.nth(1).click()
    box = admin.page.locator("[data-test=purpose-required]")
    for wanted in (True, False):
        async with admin.page.expect_response(lambda each: each.request.method == "PATCH"):
            await box.click()
        await expect(box).to_be_enabled()
        await expect(box).to_be_checked(checked=wanted)
        found = (await admin.get("/organizations?limit=200"))["items"]
        assert next(each for each in found if each["path"] == path)["purpose_required"] is wanted

    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    await expect(viewer.page.locator("[data-test=organization]").first).to_be_visible()
    assert await viewer.page.locator("[data-test=purpose-required]").count() == 0
