import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Problem } from '@/api/problem'
import type { PtzMove } from '@/api/types'
import { createPtz, MOVE_MS } from '@/live/ptz'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

interface Asked {
  move: PtzMove
  signal?: AbortSignal
  keepalive: boolean
}

function setUp(answer: (move: PtzMove) => Promise<null> = () => new Promise(() => undefined)) {
  const asked: Asked[] = []
  const kept = new Set(['gate'])
  const ptz = createPtz(
    {
      movePtz: (_, move, signal, keepalive = false) => {
        asked.push(signal ? { move, signal, keepalive } : { move, keepalive })
        return answer(move)
      },
      presets: () =>
        Promise.resolve({ items: [...kept].map((name) => ({ name })), next: null, total: 1 }),
      putPreset: (_, name) => Promise.resolve(void kept.add(name)),
      deletePreset: (_, name) => Promise.resolve(void kept.delete(name)),
    },
    'p1',
  )
  return { ptz, asked }
}

describe('createPtz', () => {
  it('moves while it is held, and stops in two ways when it is let go', async () => {
    const { ptz, asked } = setUp((move) => (move.stop ? Promise.resolve(null) : new Promise(() => undefined)))
    ptz.press({ pan: 0.6 })
    ptz.press({ pan: 0.6 })
    expect(asked.map(({ move }) => move)).toEqual([{ pan: 0.6, duration_ms: MOVE_MS }])
    await vi.advanceTimersByTimeAsync(500)
    ptz.release()
    expect(asked[0]?.signal?.aborted).toBe(true)
    expect(asked[1]).toMatchObject({ move: { stop: true }, keepalive: true })
    await vi.advanceTimersByTimeAsync(20_000)
    expect(asked).toHaveLength(2)
    expect(ptz.moving.value).toBe(false)
  })

  it('goes on without a stutter when it is held for long', async () => {
    const { ptz, asked } = setUp()
    ptz.press({ zoom: -0.6 })
    await vi.advanceTimersByTimeAsync(4100)
    expect(asked).toHaveLength(2)
    expect(asked[0]?.signal?.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1000)
    expect(asked[0]?.signal?.aborted).toBe(true)
    expect(asked[1]?.signal?.aborted).toBe(false)
  })

  it('says who is in the way, and moves no more', async () => {
    const refusal = new Problem(409, 'Conflict', 'Li (admin) moves it until then')
    const { ptz, asked } = setUp(() => Promise.reject(refusal))
    ptz.press({ tilt: 0.6 })
    await vi.advanceTimersByTimeAsync(20_000)
    expect(ptz.problem.value).toBe('Li (admin) moves it until then')
    expect(ptz.moving.value).toBe(false)
    expect(asked).toHaveLength(1)
    ptz.release()
    expect(asked).toHaveLength(1)
  })

  it('lists, goes to, keeps and removes presets', async () => {
    const { ptz, asked } = setUp(() => Promise.resolve(null))
    await ptz.load()
    await ptz.keep('yard')
    await ptz.keep('yard')
    expect(ptz.presets.value).toEqual(['gate', 'yard'])
    await ptz.goTo('gate')
    expect(asked[0]?.move).toEqual({ preset: 'gate' })
    await ptz.remove('gate')
    expect(ptz.presets.value).toEqual(['yard'])
  })
})
