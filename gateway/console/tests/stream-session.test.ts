import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createApp, defineComponent, h, ref, type Ref } from 'vue'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { LiveTicket, Point, ProfileName } from '@/api/types'
import { createPurpose } from '@/live/purpose'
import { Screen } from '@/live/screen'
import { LiveSession } from '@/live/session'
import { useLive } from '@/live/useLive'
import type { Abilities } from '@/live/ways'

/** A live WebSocket that the test speaks for. */
class FakeSocket {
  static all: FakeSocket[] = []
  binaryType = ''
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  closed = false
  constructor(readonly url: string) {
    FakeSocket.all.push(this)
  }
  close(): void {
    this.closed = true
  }
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) })
  }
  picture(): void {
    const message = new Uint8Array(14)
    message[0] = 1
    this.onmessage?.({ data: message.buffer })
  }
}
const sockets = () => FakeSocket.all
const jpegOnly: Abilities = { webcodecs: new Set(['jpeg'] as const), mse: new Set(), webrtc: new Set() }
const point = {
  id: 'p',
  profiles: [
    { name: 'main', codec: 'jpeg', width: 0, height: 0, fps: 0 },
    { name: 'sub', codec: 'jpeg', width: 0, height: 0, fps: 0 },
  ],
} as unknown as Point

function fakeApi(refuse: (times: number) => Problem | null = () => null) {
  const asked: [profile: ProfileName, purpose: string | null][] = []
  const live = (_: string, profile: ProfileName, purpose: string | null): Promise<LiveTicket> => {
    asked.push([profile, purpose])
    const problem = refuse(asked.length)
    if (problem) return Promise.reject(problem)
    const urls = { frames: `/live/${asked.length}/frames` }
    return Promise.resolve({ profile, codec: null, urls } as LiveTicket)
  }
  return { api: { live } as unknown as Api, asked }
}

beforeEach(() => {
  FakeSocket.all = []
  vi.stubGlobal('WebSocket', FakeSocket)
  vi.stubGlobal('createImageBitmap', () =>
    Promise.resolve({ width: 640, height: 360, close: () => undefined }),
  )
})
afterEach(() => vi.unstubAllGlobals())

function opened(refuse?: (times: number) => Problem | null, abilities = jpegOnly, of = point) {
  const { api, asked } = fakeApi(refuse)
  const hooks = { shown: vi.fn(), ended: vi.fn() }
  const order = { point: of, profile: 'main' as const, purpose: 'case 7', abilities }
  const host = document.createElement('div')
  const session = new LiveSession(api, new Screen(host), order, hooks, () => 0)
  session.start()
  return { session, view: session.view, hooks, asked, host }
}

async function play(socket: FakeSocket | undefined): Promise<void> {
  socket?.say({ type: 'video', codec: 'jpeg', width: 640, height: 360, description: '' })
  socket?.picture()
}

describe('a live session', () => {
  it('comes back by itself with a new ticket, and keeps the last picture meanwhile', async () => {
    const { view, hooks, asked, host, session } = opened()
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    await play(sockets()[0])
    await vi.waitFor(() => expect(view.phase).toBe('live'))
    expect(hooks.shown).toHaveBeenCalledTimes(1)
    sockets()[0]?.onclose?.({ code: 1006, reason: '' })
    await vi.waitFor(() => expect(view).toMatchObject({ phase: 'reconnecting', reason: 'network' }))
    expect(host.children).toHaveLength(1)
    await vi.waitFor(() => expect(sockets()).toHaveLength(2))
    await play(sockets()[1])
    await vi.waitFor(() => expect(view.phase).toBe('live'))
    expect(asked).toEqual([
      ['main', 'case 7'],
      ['main', 'case 7'],
    ])
    session.close()
    expect(sockets().every(({ closed }) => closed)).toBe(true)
  })

  it('goes on asking while the gateway is away', async () => {
    const { view, session } = opened((times) => (times < 3 ? new Problem(0, '') : null))
    await vi.waitFor(() => expect(sockets()).toHaveLength(1), { timeout: 5000 })
    await play(sockets()[0])
    await vi.waitFor(() => expect(view.phase).toBe('live'))
    session.close()
  })

  it('says that the camera is away until it is back, though pictures still come', async () => {
    const { view, session } = opened()
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    const [socket] = sockets()
    await play(socket)
    await vi.waitFor(() => expect(view.phase).toBe('live'))
    socket?.say({ type: 'state', state: 'reconnecting', reason: 'timed out' })
    socket?.picture()
    await vi.waitFor(() => expect(view.seen.pictures).toBe(2))
    expect(view).toMatchObject({ phase: 'reconnecting', reason: 'timed out' })
    socket?.say({ type: 'state', state: 'live', reason: 'read by PyAV' })
    expect(view).toMatchObject({ phase: 'live', reason: null, said: 'read by PyAV' })
    session.close()
  })

  it('asks for single pictures where nothing else can be played, and says why', async () => {
    const hard = { ...point, profiles: [{ ...point.profiles[0], codec: 'h265' }] } as Point
    const { view, session } = opened(undefined, jpegOnly, hard)
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    expect(new URL(sockets()[0]?.url ?? '').search).toBe('?codec=jpeg')
    expect(view).toMatchObject({ transport: 'jpeg', notice: 'jpeg' })
    session.close()
  })

  it('takes another way when the one it chose turns out not to play', async () => {
    const abilities: Abilities = { webcodecs: new Set(['h264'] as const), mse: new Set(), webrtc: new Set() }
    const one = { ...point, profiles: [{ ...point.profiles[0], codec: 'h264' }] } as Point
    const { view, session } = opened(undefined, abilities, one)
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    vi.stubGlobal('VideoDecoder', undefined)
    sockets()[0]?.say({ type: 'video', codec: 'avc1.42e01e', description: '' })
    await vi.waitFor(() => expect(sockets()).toHaveLength(2))
    expect(view.transport).toBe('jpeg')
    session.close()
  })

  it('leaves no picture of what may no longer be seen', async () => {
    const { view, hooks, host } = opened()
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    await play(sockets()[0])
    await vi.waitFor(() => expect(host.children).toHaveLength(1))
    await vi.waitFor(() => expect(view.phase).toBe('live'))
    sockets()[0]?.onclose?.({ code: 4403, reason: 'share over' })
    await vi.waitFor(() => expect(hooks.ended).toHaveBeenCalled())
    expect(host.children).toHaveLength(0)
    expect(view).toMatchObject({ phase: 'ended', reason: 'right_lost', width: 0 })
  })
})

describe('a tile', () => {
  /** A mounted component that shows one point. */
  function tile(refuse?: (times: number) => Problem | null) {
    const { api, asked } = fakeApi(refuse)
    const host: Ref<HTMLElement | null> = ref(null)
    const profile = ref<ProfileName>('sub')
    const active = ref(true)
    sessionStorage.clear()
    const purpose = createPurpose(sessionStorage)
    let live: ReturnType<typeof useLive> | undefined
    const app = createApp(
      defineComponent(() => {
        live = useLive(api, {
          point: () => point,
          profile,
          host,
          active,
          audible: ref(false),
          purpose,
          abilities: () => Promise.resolve(jpegOnly),
        })
        return () => h('div', { ref: host })
      }),
    )
    app.mount(document.createElement('div'))
    return { app, asked, host, profile, active, purpose, view: () => live?.view.value }
  }
  const open = () => sockets().filter(({ closed }) => !closed)

  it('opens another profile beside the one that plays, and changes when it has a picture', async () => {
    const { app, profile, view, host } = tile()
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    await play(sockets()[0])
    await vi.waitFor(() => expect(view()).toMatchObject({ phase: 'live', profile: 'sub' }))
    profile.value = 'main'
    await vi.waitFor(() => expect(sockets()).toHaveLength(2))
    expect([open().length, view()?.profile, view()?.phase]).toEqual([2, 'sub', 'live'])
    await play(sockets()[1])
    await vi.waitFor(() => expect(view()?.profile).toBe('main'))
    expect(open()).toEqual([sockets()[1]])
    expect(host.value?.children).toHaveLength(1)
    app.unmount()
    expect(open()).toHaveLength(0)
  })

  it('goes on with what plays when the other profile cannot be had', async () => {
    const { app, profile, view } = tile((times) => (times === 2 ? new Problem(409, 'no') : null))
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    await play(sockets()[0])
    await vi.waitFor(() => expect(view()?.phase).toBe('live'))
    profile.value = 'main'
    await vi.waitFor(() => expect(view()?.notice).toBe('switch_failed'))
    expect([view()?.phase, open().length]).toEqual(['live', 1])
    app.unmount()
  })

  it('stops while it is out of sight', async () => {
    const { app, active, view, asked } = tile()
    await vi.waitFor(() => expect(sockets()).toHaveLength(1))
    active.value = false
    await vi.waitFor(() => expect(view()?.phase).toBe('paused'))
    expect(open()).toHaveLength(0)
    active.value = true
    await vi.waitFor(() => expect(open()).toHaveLength(1))
    expect(asked).toHaveLength(2)
    app.unmount()
  })

  it('waits for the purpose, and opens as soon as somebody gives one', async () => {
    const missing = new Problem(422, 'Unprocessable', null, null, [{ field: 'purpose' }])
    const { app, purpose, view, asked } = tile((times) => (times === 1 ? missing : null))
    await vi.waitFor(() => expect(view()?.needsPurpose).toBe(true))
    expect(purpose.waiting.value.size).toBe(1)
    purpose.set('case 9')
    await vi.waitFor(() => expect(asked.at(-1)).toEqual(['sub', 'case 9']))
    await vi.waitFor(() => expect(purpose.waiting.value.size).toBe(0))
    app.unmount()
  })
})
