import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Api } from '@/api/api'
import { createSession } from '@/session/session'

beforeEach(() => localStorage.clear())
afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

const me = {
  id: 'u',
  name: 'li',
  roles: [{ role: 'viewer', organization: { id: 'w', path: 'd/s/w', name: 'W' } }],
}

/** Answers by path, and the paths that were asked for. */
function setUp(answer: (path: string, times: number) => [status: number, body: unknown]) {
  const asked: string[] = []
  vi.stubGlobal('fetch', (path: string) => {
    asked.push(path.replace('/api/v1', ''))
    const [status, body] = answer(asked.at(-1) ?? '', asked.filter((p) => p === asked.at(-1)).length)
    return Promise.resolve(new Response(JSON.stringify(body), { status }))
  })
  const api = new Api()
  const session = createSession(api)
  api.http.revive = session.revive
  return { api, session, asked }
}

describe('session', () => {
  it('repeats a request that left with the cookie of before a renewal', async () => {
    const { api, session, asked } = setUp((path, times) =>
      path === '/points/p' && times === 1 ? [401, {}] : [200, path === '/me' ? me : { id: 'p' }],
    )
    await session.signIn('li', 'pw')
    expect(await api.point('p')).toEqual({ id: 'p' })
    expect(asked).toEqual(['/auth/login', '/me', '/points/p', '/me', '/points/p'])
    expect(session.me.value).not.toBeNull()
  })

  it('ends once when the gateway no longer knows it', async () => {
    let over = false
    const { api, session } = setUp((path) =>
      over ? [401, { title: 'Unauthorized' }] : [200, path === '/me' ? me : { expires_in: 60 }],
    )
    await session.signIn('li', 'pw')
    const ended = vi.fn()
    session.onEnd(ended)
    over = true
    const answers = await Promise.allSettled([api.point('p'), api.point('q')])
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(ended).toHaveBeenCalledTimes(1)
    expect([session.me.value, session.expired.value]).toEqual([null, true])
  })

  it('is renewed before it ends, once for all tabs', async () => {
    vi.useFakeTimers()
    const { session, asked } = setUp((path) => [200, path === '/me' ? me : { expires_in: 100 }])
    await session.signIn('li', 'pw')
    const renewals = () => asked.filter((path) => path === '/auth/refresh').length
    await vi.advanceTimersByTimeAsync(69_000)
    expect(renewals()).toBe(0)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(renewals()).toBe(1)
    localStorage.setItem('hutong.session-ends', String(Date.now() + 200_000))
    await vi.advanceTimersByTimeAsync(80_000)
    expect(renewals()).toBe(1)
  })

  it('asks nothing on a fresh page of somebody who never signed in', async () => {
    const { session, asked } = setUp(() => [401, {}])
    await session.resume()
    expect(asked).toEqual([])
  })

  it('knows what a role allows, and where', async () => {
    const { session } = setUp((path) => [200, path === '/me' ? me : {}])
    await session.signIn('li', 'pw')
    expect(session.may('pictures', 'd/s/w/post')).toBe(true)
    expect(session.may('pictures', 'd/s')).toBe(false)
    expect(session.may('dispatch', 'd/s/w')).toBe(false)
  })
})
