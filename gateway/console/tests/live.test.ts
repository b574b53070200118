import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Problem } from '@/api/problem'
import type { Point, Polygon, Tour } from '@/api/types'
import { createDuty } from '@/live/duty'
import { loadPoints } from '@/live/loadPoints'
import { createPatrol } from '@/live/patrol'
import { afterClick, drawable } from '@/live/polygons'
import { createPurpose } from '@/live/purpose'
import { Screen } from '@/live/screen'
import { fromALaw, fromMuLaw } from '@/live/sound'
import { Queue } from '@/thumbnails/queue'

const point = (id: string) => ({ id }) as Point

describe('patrol', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const tour = (...groups: string[][]): Tour => ({
    id: 't',
    version: 1,
    name: 'night',
    organization: { id: 'o', path: 'o', name: 'O' },
    dwell_s: 10,
    on_duty: false,
    groups: groups.map((points, index) => ({ name: `g${index}`, points, hidden: 0 })),
    hidden: 0,
  })
  const seen = new Map(['a', 'b', 'c', 'd', 'e'].map((id) => [id, point(id)]))

  it('opens the next group before its turn, and goes round', () => {
    const patrol = createPatrol()
    patrol.start(tour(['a', 'b'], ['c'], ['d', 'e']), seen)
    const { state } = patrol
    expect([state.size, state.turn, state.standby]).toEqual([4, 0, null])
    vi.advanceTimersByTime(5900)
    expect(state.standby).toBeNull()
    vi.advanceTimersByTime(200)
    expect([state.turn, state.standby]).toEqual([0, 1])
    vi.advanceTimersByTime(3900)
    expect([state.turn, state.standby]).toEqual([1, null])
    vi.advanceTimersByTime(20_000)
    expect(state.turn).toBe(0)
  })

  it('leaves out what is not seen, and groups of which nothing is left', () => {
    const patrol = createPatrol()
    patrol.start(tour(['a', 'x'], ['y'], ['b']), seen)
    expect(patrol.state.turns.map(({ points }) => points.map((p) => p?.id))).toEqual([['a'], ['b']])
    patrol.start(tour(['x']), seen)
    expect(patrol.state.tour).toBeNull()
  })

  it('stays while it is held, and begins the dwell anew after a step', () => {
    const patrol = createPatrol()
    patrol.start(tour(['a'], ['b'], ['c']), seen)
    patrol.hold(true)
    vi.advanceTimersByTime(60_000)
    expect(patrol.state.turn).toBe(0)
    patrol.hold(false)
    vi.advanceTimersByTime(9000)
    patrol.go(-1)
    expect(patrol.state.turn).toBe(2)
    vi.advanceTimersByTime(9000)
    expect(patrol.state.turn).toBe(2)
    patrol.stop()
    vi.advanceTimersByTime(60_000)
    expect([patrol.state.tour, patrol.state.turn]).toEqual([null, 0])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('does not turn where there is one group only', () => {
    const patrol = createPatrol()
    patrol.start(tour(['a']), seen)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('duty', () => {
  const tour = (id: string, on_duty: boolean, points = ['a']) =>
    ({ id, on_duty, dwell_s: 10, groups: [{ name: 'g', points, hidden: 0 }] }) as Tour

  function make(...tours: Tour[]) {
    const patrol = createPatrol()
    const api = { tours: () => Promise.resolve(tours), point: (id: string) => Promise.resolve(point(id)) }
    return { patrol, tours, duty: createDuty(api, patrol) }
  }

  it('stands first, and is offered until it runs', async () => {
    const { duty, patrol } = make(tour('day', false), tour('night', true), tour('gates', true))
    await duty.load()
    expect(duty.tours.value.map(({ id }) => id)).toEqual(['night', 'gates', 'day'])
    const first = duty.offered.value
    expect(first?.id).toBe('night')
    expect(first && (await duty.begin(first))).toBe(true)
    expect([patrol.state.tour?.id, duty.offered.value?.id]).toEqual(['night', 'gates'])
    patrol.stop()
    expect(duty.offered.value?.id).toBe('night')
  })

  it('is put off until it comes on duty anew', async () => {
    const { duty, tours } = make(tour('night', true))
    await duty.load()
    duty.putOff(tours[0] as Tour)
    await duty.load()
    expect(duty.offered.value).toBeNull()
    tours[0] = tour('night', false)
    await duty.load()
    tours[0] = tour('night', true)
    await duty.load()
    expect(duty.offered.value?.id).toBe('night')
    duty.clear()
    expect([duty.offered.value, duty.tours.value]).toEqual([null, []])
  })

  it('does not run where no camera is seen', async () => {
    const { duty, patrol } = make(tour('night', true, []))
    await duty.load()
    expect(await duty.begin(duty.tours.value[0] as Tour)).toBe(false)
    expect(patrol.state.tour).toBeNull()
  })
})

describe('purpose', () => {
  beforeEach(() => sessionStorage.clear())

  it('is kept for the session, and forgotten with it', () => {
    const purpose = createPurpose(sessionStorage)
    purpose.set('  case 7 ')
    expect(createPurpose(sessionStorage).text.value).toBe('case 7')
    purpose.clear()
    expect(createPurpose(sessionStorage).text.value).toBe('')
  })

  it('counts who waits for it', () => {
    const purpose = createPurpose(sessionStorage)
    const [one, two] = [{}, {}]
    purpose.wait(one, true)
    purpose.wait(two, true)
    purpose.wait(one, true)
    expect(purpose.waiting.value.size).toBe(2)
    purpose.wait(one, false)
    expect(purpose.waiting.value.size).toBe(1)
  })
})

describe('the layers of a tile', () => {
  const shown = (host: HTMLElement) =>
    [...host.children].map((layer) => (layer as HTMLElement).style.visibility || 'seen')

  it('keeps the old picture until the new one is there', () => {
    const host = document.createElement('div')
    const screen = new Screen(host)
    const old = screen.add('canvas')
    screen.reveal(old)
    const next = screen.add('canvas')
    screen.retire(old)
    expect(shown(host)).toEqual(['seen', 'hidden'])
    screen.reveal(next)
    expect([...host.children]).toEqual([next])
  })

  it('leaves nothing behind of a stream that never showed anything, nor of a forbidden one', () => {
    const host = document.createElement('div')
    const screen = new Screen(host)
    screen.retire(screen.add('canvas'))
    expect(host.children).toHaveLength(0)
    screen.reveal(screen.add('canvas'))
    screen.blank()
    expect(host.children).toHaveLength(0)
  })
})

describe('sound', () => {
  // Values of ITU-T G.711: the ends of the scale, and silence.
  it('decodes A-law', () => {
    expect([0xd5, 0x55, 0xaa, 0x2a].map((byte) => fromALaw(byte) * 32768)).toEqual([
      8, -8, 32256, -32256,
    ])
  })

  it('decodes µ-law', () => {
    expect([0xff, 0x80, 0x00].map((byte) => fromMuLaw(byte) * 32768)).toEqual([0, 32124, -32124])
  })
})

describe('loading points', () => {
  it('asks for each once, a few at a time, and leaves out what is not seen', async () => {
    let [now, most] = [0, 0]
    const asked: string[] = []
    const api = {
      point: async (id: string) => {
        asked.push(id)
        most = Math.max(most, ++now)
        await Promise.resolve()
        now -= 1
        if (id === 'p3') throw new Problem(404, 'Not Found')
        return point(id)
      },
    }
    const ids = [...Array.from({ length: 20 }, (_, index) => `p${index}`), null, 'p0']
    const found = await loadPoints(api, ids)
    expect([asked.length, found.size, found.has('p3')]).toEqual([20, 19, false])
    expect(most).toBeLessThanOrEqual(6)
  })

  it('does not hide that the gateway is away', async () => {
    const api = { point: () => Promise.reject(new Problem(0, '')) }
    await expect(loadPoints(api, ['a'])).rejects.toThrow(Problem)
  })
})

describe('the queue of thumbnails', () => {
  it('runs a few at once, and drops what is no longer wanted', async () => {
    const queue = new Queue(2)
    const stops = Array.from({ length: 5 }, () => new AbortController())
    const begun: number[] = []
    const finish: (() => void)[] = []
    const runs = stops.map(({ signal }, index) =>
      queue
        .run(() => {
          begun.push(index)
          return new Promise<void>((resolve) => finish.push(resolve))
        }, signal)
        .then(
          () => 'done',
          () => 'dropped',
        ),
    )
    await Promise.resolve()
    expect(begun).toEqual([0, 1])
    stops[2]?.abort()
    finish[0]?.()
    await vi.waitFor(() => expect(begun).toEqual([0, 1, 3]))
    finish[1]?.()
    await vi.waitFor(() => expect(begun).toEqual([0, 1, 3, 4]))
    finish.slice(2).forEach((each) => each())
    expect(await Promise.all(runs)).toEqual(['done', 'done', 'dropped', 'done', 'done'])
  })
})

describe('drawing masks', () => {
  const triangle: Polygon = [
    [0.1, 0.1],
    [0.5, 0.1],
    [0.5, 0.5],
  ]

  it('closes a shape with a click on its first corner', () => {
    const next = afterClick(triangle, [0.11, 0.105])
    expect(next).toEqual({ drawn: [], closed: triangle })
  })

  it('closes nothing that has no area', () => {
    const line: Polygon = [
      [0.1, 0.1],
      [0.2, 0.2],
      [0.3, 0.3],
    ]
    expect(drawable(line)).toBe(false)
    expect(afterClick(line, [0.1, 0.1])).toEqual({ drawn: line, closed: null })
  })

  it('keeps corners inside the frame', () => {
    expect(afterClick([], [-0.2, 1.7]).drawn).toEqual([[0, 1]])
  })
})
