import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Problem } from '@/api/problem'
import type { TalkAnswer } from '@/api/types'
import { createTalk } from '@/radio/talk'

const granted: TalkAnswer = { transmission: 't', state: 'granted', position: null, reason: null }

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function setUp(answers: (action: string) => Promise<TalkAnswer | null>) {
  const actions: string[] = []
  const talk = createTalk(
    {
      talk: (_, action) => {
        actions.push(action)
        return answers(action)
      },
    },
    'c1',
  )
  return { talk, actions }
}

describe('createTalk', () => {
  it('presses, refreshes every second while held, and releases', async () => {
    const { talk, actions } = setUp(() => Promise.resolve(granted))
    talk.press()
    await vi.advanceTimersByTimeAsync(2500)
    expect(talk.state.value).toBe('granted')
    talk.release()
    await vi.advanceTimersByTimeAsync(5000)
    expect(actions).toEqual(['press', 'refresh', 'refresh', 'release'])
    expect(talk.state.value).toBe('off')
  })

  it('never lets a release overtake its press', async () => {
    let answer: (value: TalkAnswer) => void = () => undefined
    const { talk, actions } = setUp((action) =>
      action === 'press' ? new Promise((resolve) => (answer = resolve)) : Promise.resolve(null),
    )
    talk.press()
    await vi.advanceTimersByTimeAsync(10)
    talk.release()
    await vi.advanceTimersByTimeAsync(10)
    expect(actions).toEqual(['press'])
    answer(granted)
    await vi.advanceTimersByTimeAsync(10)
    expect(actions).toEqual(['press', 'release'])
    expect(talk.state.value).toBe('off')
  })

  it('does not wait when the page goes away', async () => {
    const { talk, actions } = setUp(() => new Promise(() => undefined))
    talk.press()
    await vi.advanceTimersByTimeAsync(10)
    talk.release(true)
    expect(actions).toEqual(['press', 'release'])
  })

  it('stops refreshing once denied, and rests when let go', async () => {
    const { talk, actions } = setUp(() =>
      Promise.resolve({ ...granted, state: 'denied', reason: 'floor taken' }),
    )
    talk.press()
    await vi.advanceTimersByTimeAsync(3500)
    expect(actions).toEqual(['press'])
    expect([talk.state.value, talk.reason.value]).toEqual(['denied', 'floor taken'])
    talk.release()
    talk.rest()
    expect(talk.state.value).toBe('off')
  })

  it('says so when the floor was taken away', async () => {
    const { talk } = setUp((action) =>
      Promise.resolve(
        action === 'press' ? granted : { ...granted, state: 'released', reason: 'talked too long' },
      ),
    )
    talk.press()
    await vi.advanceTimersByTimeAsync(1100)
    expect([talk.state.value, talk.reason.value]).toEqual(['failed', 'talked too long'])
  })

  it('bears one lost refresh and ends at the second', async () => {
    const { talk, actions } = setUp((action) =>
      action === 'refresh' ? Promise.reject(new Problem(0, '')) : Promise.resolve(granted),
    )
    talk.press()
    await vi.advanceTimersByTimeAsync(1500)
    expect(talk.state.value).toBe('granted')
    await vi.advanceTimersByTimeAsync(1000)
    expect(talk.state.value).toBe('failed')
    await vi.advanceTimersByTimeAsync(5000)
    expect(actions).toEqual(['press', 'refresh', 'refresh', 'release'])
  })

  it('tells why a press was refused', async () => {
    const { talk } = setUp(() => Promise.reject(new Problem(403, 'Forbidden', 'Not your channel')))
    talk.press()
    await vi.advanceTimersByTimeAsync(10)
    expect([talk.state.value, talk.reason.value]).toEqual(['denied', 'Not your channel'])
  })
})
