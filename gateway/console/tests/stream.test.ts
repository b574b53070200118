import { afterEach, describe, expect, it, vi } from 'vitest'
import { EventStream } from '@/api/stream'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

function answer(text: string): Response {
  return new Response(text, { headers: { 'Content-Type': 'text/event-stream' } })
}

describe('EventStream', () => {
  it('resumes after the last id that it got', async () => {
    vi.useFakeTimers()
    const headers: Record<string, string>[] = []
    const bodies = ['id: 41\nevent: channel\ndata: {"id":"c1"}\n\n', 'data: not json\n\n']
    vi.stubGlobal('fetch', (_: string, init: { headers: Record<string, string> }) => {
      headers.push(init.headers)
      return Promise.resolve(answer(bodies.shift() ?? ''))
    })
    const stream = new EventStream(() => Promise.resolve(false))
    const got: unknown[] = []
    const opened = vi.fn()
    stream.on('channel', (data) => got.push(data))
    stream.whenOpened(opened)
    stream.open()
    await vi.waitUntil(async () => {
      await vi.advanceTimersByTimeAsync(100)
      return headers.length === 2
    })
    stream.close()
    expect(got).toEqual([{ id: 'c1' }])
    expect(headers[0]).not.toHaveProperty('Last-Event-ID')
    expect(headers[1]).toHaveProperty('Last-Event-ID', '41')
    expect(opened).toHaveBeenCalled()
    expect(stream.state.value).toBe('closed')
  })

  it('stops at a 401 that is final', async () => {
    const fetched = vi.fn(() => Promise.resolve(new Response('{}', { status: 401 })))
    vi.stubGlobal('fetch', fetched)
    const revive = vi.fn(() => {
      stream.close()
      return Promise.resolve(false)
    })
    const stream = new EventStream(revive)
    stream.open()
    await vi.waitUntil(() => stream.state.value === 'closed')
    expect(revive).toHaveBeenCalledTimes(1)
    expect(fetched).toHaveBeenCalledTimes(1)
  })
})
