"""WebRTC in a browser: a page that plays a view by WHEP, as any player of the standard does."""

from typing import Any

import pytest
from visitors import Visitors

pytestmark = pytest.mark.asyncio(loop_scope="session")  # the loop of the browser

# Plays a view and waits until so many pictures have been shown.
PLAY = """async ({url, pictures}) => {
  const peer = new RTCPeerConnection()
  globalThis.peer = peer
  peer.addTransceiver('video', {direction: 'recvonly'})
  peer.addTransceiver('audio', {direction: 'recvonly'})
  const video = document.createElement('video')
  globalThis.video = video
  video.muted = true
  const shown = new Promise(resolve => {
    let seen = 0
    const next = () => {
      seen += 1
      if (seen >= pictures) resolve()
      else video.requestVideoFrameCallback(next)
    }
    video.requestVideoFrameCallback(next)
  })
  peer.ontrack = event => {
    if (event.track.kind === 'video') { video.srcObject = event.streams[0]; void video.play() }
  }
  await peer.setLocalDescription(await peer.createOffer())
  const answer = await fetch(url, {
    method: 'POST', headers: {'Content-Type': 'application/sdp'}, body: peer.localDescription.sdp,
  })
  if (answer.status !== 201) return {status: answer.status, text: await answer.text()}
  globalThis.view = answer.headers.get('Location')
  const sdp = await answer.text()
  await peer.setRemoteDescription({type: 'answer', sdp})
  await shown
  return {status: 201, width: video.videoWidth, height: video.videoHeight, sdp}
}"""


async def test_a_browser_plays_a_view_by_whep(visitors: Visitors) -> None:
    viewer = await visitors.of("viewer")
    await viewer.sign_in()
    page = viewer.page
    points = (await viewer.get("/points?status=online&limit=1"))["items"]
    answer = await page.request.post(
        f"{viewer.url.rstrip('/')}/api/v1/points/{points[0]['id']}/live", data={}
    )
    assert answer.status == 201
    ticket = await answer.json()
    played: dict[str, Any] = await page.evaluate(
        PLAY, {"url": ticket["urls"]["whep"], "pictures": 20}
    )
    assert played["status"] == 201, played
    assert played["width"] >= 64
    assert played["height"] >= 64
    assert "H264" in played["sdp"]
    assert "VP8" not in played["sdp"]
    decoder = await page.evaluate(
        """async () => [...(await peer.getStats()).values()]
             .find(each => each.type === 'inbound-rtp' && each.kind === 'video')"""
    )
    assert decoder["framesDecoded"] >= 20
    assert await page.evaluate("async () => (await fetch(view, {method: 'DELETE'})).status") == 204
    await page.wait_for_function("() => peer.connectionState !== 'connected'")
