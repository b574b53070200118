import { describe, expect, it } from 'vitest'
import type { Api } from '@/api/api'
import type { EventStream } from '@/api/stream'
import type { BusEvent, Channel, ChannelState, Organization, Patch, PatchState, Point } from '@/api/types'
import { merge } from '@/events/log'
import { createWall, sizeFor } from '@/live/wall'
import { flatten } from '@/organizations/rows'
import { buildTree } from '@/organizations/tree'
import { applyStatus } from '@/points/list'
import { createRadio } from '@/radio/store'
import { patchOf } from './patches'

const idle: ChannelState = {
  floor: 'idle',
  talker: null,
  talker_alias: null,
  since: null,
  emergency: false,
  health: 'ok',
}
const taken: ChannelState = { ...idle, floor: 'taken', talker: 's/1', emergency: true }
const channel: Channel = {
  id: 'c1',
  system: 's',
  address: '1/9001',
  name: 'One',
  organization: 'd',
  kind: 'trunk',
  state: idle,
}

/** An event stream that the test feeds. */
function fakeStream() {
  const listeners = new Map<string, (data: unknown) => void>()
  const stream = {
    on: (event: string, listener: (data: unknown) => void) => listeners.set(event, listener),
    whenOpened: () => undefined,
  }
  return {
    stream: stream as unknown as EventStream,
    say: (event: string, data: unknown) => listeners.get(event)?.(data),
  }
}

describe('radio', () => {
  it('prefers a state that came while the lists were on their way', async () => {
    const { stream, say } = fakeStream()
    let deliver: (items: Channel[]) => void = () => undefined
    const api = {
      systems: () => Promise.reject(new Error('not for this role')),
      channels: () => new Promise<Channel[]>((resolve) => (deliver = resolve)),
      patches: () => Promise.resolve([]),
    } as unknown as Api
    const radio = createRadio(api, stream)
    const loading = radio.load()
    say('channel', { id: 'c1', state: taken })
    deliver([channel])
    await loading
    expect(radio.channels.get('c1')?.state?.floor).toBe('taken')
    expect(radio.emergencies.value.map(({ id }) => id)).toEqual(['c1'])
    say('channel', { id: 'c1', state: idle })
    expect(radio.emergencies.value).toEqual([])
    say('channel', { id: 'elsewhere', state: taken })
    expect(radio.channels.size).toBe(1)
  })

  const state = (floor: PatchState['floor']): PatchState => ({
    ...{ floor, holder: null, queue: [], members: [], emergency: false, since: null },
  })

  async function withPatches(...first: Patch[]) {
    const { stream, say } = fakeStream()
    const asked: ((items: Patch[]) => void)[] = []
    let listed = Promise.resolve(first)
    const api = {
      systems: () => Promise.resolve([]),
      channels: () => Promise.resolve([]),
      patches: () => listed,
    } as unknown as Api
    const radio = createRadio(api, stream)
    await radio.load()
    const ask = () => {
      listed = new Promise((resolve) => asked.push(resolve))
      return radio.askPatches()
    }
    return { radio, say, ask, answer: (...items: Patch[]) => asked.shift()?.(items) }
  }

  it('learns of patches that others make, change and remove, and keeps newer states', async () => {
    const { radio, say, ask, answer } = await withPatches(patchOf({ id: 'a' }), patchOf({ id: 'b' }))
    const asking = ask()
    say('patch', { id: 'a', state: state('taken') })
    answer(patchOf({ id: 'a', name: 'other', state: state('idle') }), patchOf({ id: 'c' }))
    await asking
    expect([...radio.patches.keys()]).toEqual(['a', 'c'])
    expect(radio.patches.get('a')).toMatchObject({ name: 'other', state: { floor: 'taken' } })
  })

  it('does not take an older list over what was changed here', async () => {
    const { radio, ask, answer } = await withPatches(patchOf({ id: 'a' }))
    for (const change of [() => radio.put(patchOf({ id: 'new' })), () => radio.drop('new')]) {
      const asking = ask()
      change()
      answer(patchOf({ id: 'a' }), patchOf({ id: 'old' }))
      await asking
      expect(radio.patches.has('old')).toBe(false)
    }
    expect([...radio.patches.keys()]).toEqual(['a'])
  })

  it('asks as soon as it hears of a patch that it does not know', async () => {
    const { radio, say } = await withPatches(patchOf({ id: 'a' }))
    radio.drop('a')
    say('patch', { id: 'a', state: null }) // of one that is no more
    await new Promise((resolve) => setTimeout(resolve))
    expect(radio.patches.has('a')).toBe(false)
    say('patch', { id: 'a', state: state('idle') })
    await new Promise((resolve) => setTimeout(resolve))
    expect(radio.patches.has('a')).toBe(true)
  })
})

describe('tree', () => {
  const at = (id: string, parent: string | null, path: string) =>
    ({ id, parent, path }) as Organization
  const items = [at('w', 's', 'd/s/room-10'), at('v', 's', 'd/s/room-9'), at('s', 'd', 'd/s')]

  it('makes a root of what has no visible parent, and counts like a person', () => {
    const rows = flatten(buildTree(items), new Set())
    expect(rows.map(({ organization, depth }) => [organization.id, depth])).toEqual([
      ['s', 0],
      ['v', 1],
      ['w', 1],
    ])
  })

  it('hides what is folded', () => {
    expect(flatten(buildTree(items), new Set(['s']))).toHaveLength(1)
  })
})

describe('events', () => {
  const event = (id: string, time: string, type = 'hutong.floor.taken') =>
    ({ id, time, type, subject: 'c1', data: {} }) as BusEvent

  it('keeps each event once, newest first, without refreshes and results of commands', () => {
    const first = merge([], [event('a', '2026-01-01T00:00:01Z'), event('b', '2026-01-01T00:00:02Z')])
    const all = merge(first, [
      event('a', '2026-01-01T00:00:01Z'),
      event('c', '2026-01-01T00:00:03Z'),
      event('r', '2026-01-01T00:00:04Z', 'hutong.floor.refreshed'),
      event('k', '2026-01-01T00:00:05Z', 'hutong.command.result'),
    ])
    expect(all.map(({ id }) => id)).toEqual(['c', 'b', 'a'])
  })

  it('learns who saw to an alarm, and does not forget it', () => {
    const alarm = event('a', '2026-01-01T00:00:01Z', 'hutong.emergency.raised')
    const seen = { ...alarm, acknowledgedat: '2026-01-01T00:01:00Z', acknowledgedby: 'Li' }
    const known = merge(merge([], [alarm, event('b', '2026-01-01T00:00:02Z')]), [seen])
    expect(known.map(({ id, acknowledgedby }) => [id, acknowledgedby])).toEqual([
      ['b', undefined],
      ['a', 'Li'],
    ])
    expect(merge(known, [alarm])[1]?.acknowledgedby).toBe('Li')
  })

  it('is bounded', () => {
    const many = Array.from({ length: 700 }, (_, i) => event(`e${i}`, new Date(i * 1000).toISOString()))
    const kept = merge([], many)
    expect(kept).toHaveLength(500)
    expect(kept[0]?.id).toBe('e699')
  })
})

describe('points', () => {
  it('writes a status into the list, and says whether it was there', () => {
    const items = [{ id: 'p1', status: 'online' }] as Point[]
    const message = { id: 'p1', status: 'offline', since: 'now', reason: 'timed out' } as const
    expect(applyStatus(items, message)).toBe(true)
    expect(items[0]).toMatchObject({ status: 'offline', status_reason: 'timed out' })
    expect(applyStatus(items, { ...message, id: 'p2' })).toBe(false)
    const places = [null, items[0] ?? null]
    expect(applyStatus(places, { ...message, status: 'fault' })).toBe(true)
    expect(places.map((place) => place?.status)).toEqual([undefined, 'fault'])
  })
})

describe('wall', () => {
  const point = (id: string) => ({ id }) as Point
  const ids = (wall: ReturnType<typeof createWall>) => wall.shown.value.map((p) => p?.id ?? '-').join('')

  it('fills free places first, then replaces the selected one', () => {
    const wall = createWall()
    wall.resize(4)
    for (const id of ['a', 'b', 'c', 'd']) wall.show(point(id))
    expect(ids(wall)).toBe('abcd')
    wall.state.selected = 1
    wall.show(point('e'))
    expect(ids(wall)).toBe('aecd')
    wall.show(point('d'))
    expect([ids(wall), wall.state.selected]).toEqual(['aecd', 3])
  })

  it('keeps the selected one when it shrinks', () => {
    const wall = createWall()
    wall.resize(4)
    for (const id of ['a', 'b', 'c']) wall.show(point(id))
    wall.state.selected = 1
    wall.resize(1)
    expect(ids(wall)).toBe('b')
    wall.resize(4)
    expect(ids(wall)).toBe('b---')
  })

  it('replaces the only one in a single view', () => {
    const wall = createWall()
    wall.show(point('a'))
    wall.show(point('b'))
    expect(ids(wall)).toBe('b')
  })

  it('shrinks to the first ones and the selected one', () => {
    const wall = createWall()
    wall.resize(9)
    for (const id of 'abcdefghi') wall.show(point(id))
    wall.state.selected = 7
    wall.resize(4)
    expect([ids(wall), wall.state.selected]).toEqual(['abch', 3])
  })

  it('changes the places of two, and never shows one twice', () => {
    const wall = createWall()
    wall.resize(4)
    for (const id of ['a', 'b', 'c']) wall.show(point(id))
    wall.move(0, 2)
    expect(ids(wall)).toBe('cba-')
    wall.put(point('b'), 3)
    expect(ids(wall)).toBe('c-ab')
    wall.move(1, 0)
    expect(ids(wall)).toBe('c-ab')
  })

  it('enlarges only what is there, and follows what is opened meanwhile', () => {
    const wall = createWall()
    wall.resize(4)
    wall.show(point('a'))
    wall.enlarge(3)
    expect(wall.state.enlarged).toBeNull()
    wall.enlarge(0)
    wall.show(point('b'))
    expect([wall.state.enlarged, ids(wall)]).toEqual([1, 'ab--'])
    wall.remove(1)
    expect(wall.state.enlarged).toBeNull()
  })

  it('has a size for each number of points', () => {
    expect([1, 2, 4, 5, 10, 17, 30].map(sizeFor)).toEqual([1, 4, 4, 9, 16, 25, 25])
  })
})
