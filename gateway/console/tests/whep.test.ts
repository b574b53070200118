import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { LiveTicket, Point } from '@/api/types'
import { Screen } from '@/live/screen'
import { LiveSession } from '@/live/session'
import { detectAbilities, whepOf, type Abilities } from '@/live/ways'

/** A peer connection that the test speaks for. */
class FakePeer {
  static all: FakePeer[] = []
  iceGatheringState = 'complete'
  connectionState = 'new'
  localDescription: { sdp: string } | null = null
  answer = ''
  closed = false
  kinds: string[] = []
  ontrack: ((event: { track: { kind: string; onunmute?: () => void } }) => void) | null = null
  onconnectionstatechange: (() => void) | null = null
  constructor() {
    FakePeer.all.push(this)
  }
  addTransceiver(kind: string): void {
    this.kinds.push(kind)
  }
  createOffer() {
    return Promise.resolve({ sdp: 'offer' })
  }
  setLocalDescription(given: { sdp: string }) {
    this.localDescription = given
    return Promise.resolve()
  }
  setRemoteDescription({ sdp }: { sdp: string }) {
    this.answer = sdp
    return Promise.resolve()
  }
  close(): void {
    this.closed = true
  }
  become(state: string): void {
    this.connectionState = state
    this.onconnectionstatechange?.()
  }
}

const asked: { method: string; url: string; token: string | null }[] = []
let status = 201
let frames: (() => void)[] = []
const sockets: string[] = []
const abilities: Abilities = {
  webcodecs: new Set(['h264', 'jpeg'] as const),
  mse: new Set(),
  webrtc: new Set(['h264'] as const),
}
const profiles = [{ name: 'main', codec: 'h264', width: 0, height: 0, fps: 0 }]
const point = { id: 'p', profiles } as unknown as Point
const AWAY = 'the media server is away: refused'
const ticketOf = (count: number, token: string | null): LiveTicket =>
  ({
    profile: 'main',
    codec: 'h264',
    urls: { frames: `/live/${count}/frames`, whep: `https://media.example/path${count}/whep` },
    media_server: { token, reason: token ? '' : AWAY },
  }) as unknown as LiveTicket

function answered(method: string, url: string, token: string | null): Promise<Response> {
  asked.push({ method, url, token })
  if (status === 0) return Promise.reject(new TypeError('refused'))
  const headers = { Location: `${new URL(url).pathname}/view` }
  return Promise.resolve(new Response(method === 'POST' ? 'answer' : null, { status, headers }))
}

beforeEach(() => {
  FakePeer.all = []
  asked.length = sockets.length = 0
  frames = []
  status = 201
  vi.stubGlobal('RTCPeerConnection', FakePeer)
  vi.stubGlobal('fetch', (url: string, { method, headers }: RequestInit) =>
    answered(method ?? '', url, new Headers(headers).get('Authorization')),
  )
  vi.stubGlobal('MediaStream', class { addTrack = () => undefined })
  vi.stubGlobal(
    'WebSocket',
    class {
      constructor(url: string) {
        sockets.push(url)
      }
      close = () => undefined
    },
  )
  const video = HTMLVideoElement.prototype
  video.requestVideoFrameCallback = (shown) => frames.push(() => shown(0, {} as never))
  vi.spyOn(video, 'srcObject', 'set').mockImplementation(() => undefined)
  vi.spyOn(video, 'play').mockResolvedValue()
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  vi.useRealTimers()
})

function opened(token: string | null = 'jwt', refuse: (count: number) => Problem | null = () => null) {
  let count = 0
  const live = () => {
    const problem = refuse(++count)
    return problem ? Promise.reject(problem) : Promise.resolve(ticketOf(count, token))
  }
  const hooks = { shown: vi.fn(), ended: vi.fn() }
  const order = { point, profile: 'main' as const, purpose: null, abilities }
  const host = document.createElement('div')
  const session = new LiveSession({ live } as unknown as Api, new Screen(host), order, hooks, () => 0)
  session.start()
  return { session, view: session.view, hooks, host, tickets: () => count }
}

async function playing(index = 0): Promise<FakePeer> {
  await vi.waitFor(() => expect(FakePeer.all[index]?.answer).toBe('answer'))
  const peer = FakePeer.all[index] as FakePeer
  peer.ontrack?.({ track: { kind: 'video' } })
  frames.pop()?.()
  return peer
}

describe('a stream of a media server', () => {
  it('is played by WHEP with the token of the ticket, and ended where it was opened', async () => {
    const { session, view, hooks, host } = opened()
    const peer = await playing()
    expect(view).toMatchObject({ phase: 'live', transport: 'whep', notice: null, sound: false })
    expect(hooks.shown).toHaveBeenCalledTimes(1)
    expect(peer.kinds).toEqual(['video', 'audio'])
    const track = { kind: 'audio', onunmute: () => undefined }
    peer.ontrack?.({ track })
    track.onunmute()
    expect(view.sound).toBe(true)
    session.setAudible(true)
    expect(host.querySelector('video')?.muted).toBe(false)
    session.close()
    await vi.waitFor(() => expect(peer.closed).toBe(true))
    expect(asked).toEqual([
      { method: 'POST', url: 'https://media.example/path1/whep', token: 'Bearer jwt' },
      { method: 'DELETE', url: 'https://media.example/path1/whep/view', token: 'Bearer jwt' },
    ])
    expect(sockets).toEqual([])
  })

  it.each([0, 401, 404, 406])('is left for the gateway when opening it ends in %i', async (said) => {
    status = said
    const { session, view, tickets } = opened()
    await vi.waitFor(() => expect(sockets).toHaveLength(1))
    expect(sockets[0]).toContain('/live/2/frames')
    expect(view).toMatchObject({ transport: 'frames', notice: 'media_server' })
    expect([tickets(), FakePeer.all.map(({ closed }) => closed)]).toEqual([2, [true]])
    session.close()
  })

  it('is left when no connection comes about, and when no picture comes', async () => {
    const first = opened()
    await vi.waitFor(() => expect(FakePeer.all[0]?.answer).toBe('answer'))
    FakePeer.all[0]?.become('failed')
    await vi.waitFor(() => expect(sockets).toHaveLength(1))
    first.session.close()
    vi.useFakeTimers()
    const second = opened()
    await vi.advanceTimersByTimeAsync(9000)
    expect(sockets).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(2000)
    expect(sockets).toHaveLength(2)
    expect(second.view.notice).toBe('media_server')
    second.session.close()
  })

  it('is opened again with a new ticket when it breaks', async () => {
    const { session, view } = opened()
    const peer = await playing()
    peer.become('failed')
    await vi.waitFor(() => expect(view).toMatchObject({ phase: 'reconnecting', reason: 'network' }))
    await playing(1)
    expect(view).toMatchObject({ phase: 'live', transport: 'whep' })
    const posts = asked.filter(({ method }) => method === 'POST').map(({ url }) => url)
    expect(posts.map((url) => url.slice(-10))).toEqual(['path1/whep', 'path2/whep'])
    session.close()
  })

  it('bears a connection that is lost for a moment, but no standing picture', async () => {
    vi.useFakeTimers()
    const { session, view } = opened()
    await vi.advanceTimersByTimeAsync(50)
    const peer = await playing()
    peer.become('disconnected')
    await vi.advanceTimersByTimeAsync(2000)
    peer.become('connected')
    await vi.advanceTimersByTimeAsync(2000)
    expect(view.phase).toBe('live')
    await vi.advanceTimersByTimeAsync(6100)
    expect(view).toMatchObject({ phase: 'reconnecting', reason: 'silent' })
    session.close()
  })

  it('leaves no picture when the right has gone', async () => {
    const gone = new Problem(403, 'Forbidden')
    const { view, host, hooks } = opened('jwt', (count) => (count > 1 ? gone : null))
    const peer = await playing()
    peer.become('closed')
    await vi.waitFor(() => expect(hooks.ended).toHaveBeenCalled())
    expect(view).toMatchObject({ phase: 'ended', reason: 'forbidden' })
    expect(host.children).toHaveLength(0)
  })

  it('is not looked for where the gateway says that there is none, and why', async () => {
    const { session, view } = opened(null)
    await vi.waitFor(() => expect(sockets).toHaveLength(1))
    expect([FakePeer.all.length, view.transport, view.notice]).toEqual([0, 'frames', null])
    expect(view.unserved).toBe(AWAY)
    session.close()
  })

  it('has no reason to tell where it is used', async () => {
    const { session, view } = opened()
    await playing()
    expect(view.unserved).toBeNull()
    session.close()
  })
})

describe('whether a browser takes a stream by WebRTC', () => {
  it('depends on its codecs', async () => {
    const codecs = [{ mimeType: 'video/VP8' }, { mimeType: 'video/H264' }]
    const receiver = Object.assign(function () {}, { getCapabilities: () => ({ codecs }) })
    vi.stubGlobal('RTCRtpReceiver', receiver)
    const { webrtc } = await detectAbilities()
    expect([...webrtc]).toEqual(['h264'])
    const found = { ...abilities, webrtc }
    const ticket = ticketOf(1, 'jwt')
    expect(whepOf(ticket, found)).toEqual({ url: ticket.urls.whep, token: 'jwt' })
    expect(whepOf({ ...ticket, codec: 'h265' }, found)).toBeNull()
    expect(whepOf({ ...ticket, codec: null }, found)).not.toBeNull()
    expect(whepOf({ ...ticket, media_server: null }, found)).toBeNull()
  })
})
