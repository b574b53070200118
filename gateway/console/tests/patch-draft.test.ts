import { describe, expect, it } from 'vitest'
import { Problem, problemOf } from '@/api/problem'
import type { PatchMember, System } from '@/api/types'
import { matching, patchOf as keyedBy, type Candidate } from '@/radio/candidates'
import * as drafts from '@/radio/patchDraft'
import { locatedOf, reasonsAt } from '@/radio/patchErrors'
import { codecOf, reachOf, voiceBetween } from '@/radio/patchVoice'
import { channelOf, patchOf } from './patches'

const changed = (patch = patchOf(), change: Partial<drafts.PatchDraft> = {}) => {
  const before = drafts.draftOf(patch)
  return drafts.changesOf(before, { ...drafts.draftOf(patch), ...change })
}

describe('the draft of a patch', () => {
  it('sends nothing but what differs', () => {
    expect(changed()).toEqual({})
    expect(changed(patchOf(), { name: ' Night ', hang_s: 0 })).toEqual({ name: 'Night', hang_s: 0 })
    expect(changed(patchOf(), { organization: 'd' })).toEqual({ organization: 'd' })
  })

  it('keeps what it does not know, of the patch and of its members', () => {
    const patch = Object.assign(patchOf(), { colour: 'red' })
    Object.assign(patch.members[0] ?? {}, { gain: 3 })
    const [first, second] = drafts.draftOf(patch).members
    const members = [{ ...(first as PatchMember), direction: 'talk' as const }, second as PatchMember]
    expect(changed(patch, { name: 'Night' })).toEqual({ name: 'Night' })
    expect(changed(patch, { members })).toEqual({
      members: [
        { channel: 'a', direction: 'talk', priority: 0, muted: false, gain: 3 },
        { channel: 'b', direction: 'both', priority: 5, muted: true },
      ],
    })
  })

  it('leaves the patch alone while it changes', () => {
    const patch = patchOf()
    const draft = drafts.draftOf(patch)
    draft.members.pop()
    draft.units.deny.push('x')
    expect(patch.members).toHaveLength(2)
    expect(patch.units.deny).toEqual([])
  })

  it('shows an end by the clock here, and does not touch its seconds unasked', () => {
    const patch = patchOf({ until: '2026-11-22T10:00:42.500Z' })
    const draft = drafts.draftOf(patch)
    expect(new Date(draft.until).toISOString()).toBe('2026-11-22T10:00:00.000Z')
    expect(changed(patch)).toEqual({})
    expect(changed(patch, { until: '' })).toEqual({ until: null })
    const later = drafts.localTime('2026-12-01T06:30:00Z')
    expect(changed(patch, { until: later })).toEqual({ until: '2026-12-01T06:30:00.000Z' })
  })

  it('has everything in the body of one that is made', () => {
    const draft = drafts.newDraft('d/s', ['a', 'b'].map(drafts.memberOf), 'New')
    const body = drafts.bodyOf(draft)
    const { id, version, state, organization, ...fields } = patchOf()
    expect([id, version, state, organization.path]).toBeTruthy()
    expect(Object.keys(body).sort()).toEqual([...Object.keys(fields), 'organization'].sort())
    expect(body).toMatchObject({ name: 'New', organization: 'd/s', until: null, enabled: true })
  })

  it('goes on top of what somebody else saved, and says what that was', () => {
    const before = drafts.draftOf(patchOf())
    const mine = { ...drafts.draftOf(patchOf()), name: 'Mine', hang_s: 9 }
    const theirs = drafts.draftOf(patchOf({ name: 'Theirs', queue: true, hang_s: 9 }))
    const { draft, news } = drafts.rebased(before, mine, theirs)
    expect(draft).toMatchObject({ name: 'Mine', queue: true, hang_s: 9 })
    expect(news).toEqual([
      { field: 'name', kept: true },
      { field: 'hang_s', kept: false },
      { field: 'queue', kept: false },
    ])
    expect(drafts.changesOf(theirs, draft)).toEqual({ name: 'Mine' })
  })

  it('knows what is wrong before the gateway is asked', () => {
    const draft = drafts.newDraft('d', [{ ...drafts.memberOf('a'), priority: 1.5 }], ' ')
    const schedule = { timezone: 'Asia/Shanghai', from: '', to: '06:00' }
    const faults = drafts.faultsOf({ ...draft, hang_s: '', max_talk_s: 3601, schedule })
    expect([...faults.keys()].sort()).toEqual(
      ['hang_s', 'max_talk_s', 'members.0.priority', 'name', 'schedule.from'],
    )
    expect(faults.get('max_talk_s')).toEqual({ key: 'range', least: 1, most: 3600 })
    expect(drafts.faultsOf(drafts.newDraft('d', [], 'fine')).size).toBe(0)
  })

  it('belongs to what contains its channels, as far as one may', () => {
    const owner = (may: string) =>
      drafts.ownerOf(['d/s/r1', 'd/s/r2'], (path) => `${path}/`.startsWith(`${may}/`))
    expect(owner('d')).toBe('d/s')
    expect(owner('d/s/r2')).toBe('d/s/r2')
    expect(owner('e')).toBe('')
    expect(drafts.commonPath(['d/s1', 'd/s2'])).toBe('d')
    expect(drafts.commonPath(['d', 'e'])).toBe('')
    expect(drafts.nameOf([channelOf('a'), channelOf('b')])).toBe('channel a + channel b')
  })
})

describe('voice between the members of a draft', () => {
  const [two, three] = [['a', 'b'], ['a', 'b', 'c']].map((ids) => ids.map(drafts.memberOf))
  const DMR = 'ambe+2'

  it.each([
    [[DMR, DMR], ['all', 'all'], 'all'],
    [[DMR, null], ['none', 'none'], 'none'],
    [[null, null], ['none', 'none'], 'none'],
    [[DMR, DMR, null], ['some', 'some', 'none'], 'some'],
    [[DMR, undefined], ['unknown', 'unknown'], 'unknown'],
    [[null, undefined], ['none', 'none'], 'none'],
  ])('%j → %j', (codecs, each, together) => {
    const found = voiceBetween((codecs.length === 2 ? two : three) ?? [], codecs)
    expect(found).toEqual(each)
    expect(reachOf(found)).toBe(together)
  })

  it('counts those alone who hear each other', () => {
    const both = (two ?? []).map((member) => ({ ...member, direction: 'listen' as const }))
    expect(voiceBetween(both, [DMR, DMR])).toEqual(['none', 'none'])
  })

  it('is told by the kind of system, and by no kind that we do not know', () => {
    const systems = new Map(
      ['homebrew', 'zello', 'acme'].map((adapter) => [adapter, { id: adapter, name: '', adapter } as System]),
    )
    const codec = (system: string) => codecOf(channelOf('c', { system }), systems)
    expect(['homebrew', 'zello', 'acme', 'unseen'].map(codec)).toEqual([DMR, null, undefined, undefined])
    expect(codecOf(undefined, systems)).toBeUndefined()
  })
})

describe('refusals', () => {
  const refusal = new Problem(422, 'Unprocessable', 'long', null, [
    { field: 'members[0].channel', reason: 'is in the patch already' },
    { field: 'members.1.priority', reason: 'too big' },
    { field: 'members.1.direction', reason: 'odd' },
    { field: 'schedule.timezone', reason: 'there is no such zone' },
    { reason: 'nowhere' },
  ])

  it('stand at their fields, however their places are written', () => {
    const found = locatedOf(refusal)
    expect(reasonsAt(found, 'members.0')).toBe('is in the patch already')
    expect(reasonsAt(found, 'members.1')).toBe('too big; odd')
    expect(reasonsAt(found, 'members.1.priority')).toBe('too big')
    expect(reasonsAt(found, 'schedule.timezone')).toBe('there is no such zone')
    expect(reasonsAt(found, 'schedule.time')).toBe('')
    expect(reasonsAt(found, 'member')).toBe('')
    expect(locatedOf(new Error('x')).size).toBe(0)
  })

  it('name what a conflict is with', async () => {
    const body = JSON.stringify({ title: 'Conflict', detail: 'taken', other: 'p7' })
    expect((await problemOf(new Response(body, { status: 409 }))).other).toBe('p7')
    expect((await problemOf(new Response('{}', { status: 409 }))).other).toBe('')
  })
})

describe('channels that could join', () => {
  const candidate = (name: string, address: string, system: string): Candidate => ({
    channel: channelOf(address, { name, address }),
    ...{ system, organization: '南塔派出所', able: true, taken: '' },
  })
  const all = [candidate('指挥一组 TG 3101', '1/3101', '350M 集群'), candidate('Patrol', 'Patrol', 'PTT')]
  const found = (q: string) => matching(all, q).map(({ channel }) => channel.address)

  it.each([
    ['指挥', ['1/3101']],
    ['PATROL', ['Patrol']],
    ['ｐｔｔ', ['Patrol']],
    ['集群 310', ['1/3101']],
    ['310 ptt', []],
    ['南塔', ['1/3101', 'Patrol']],
    ['  ', ['1/3101', 'Patrol']],
  ])('are found by %s', (q, expected) => expect(found(q)).toEqual(expected))

  it('say which patch keys them now', () => {
    const other = patchOf({ id: 'q', name: 'Other' })
    expect(keyedBy('a', [other], null)).toBe('Other')
    expect(keyedBy('a', [other], 'q')).toBe('')
    expect(keyedBy('z', [other], null)).toBe('')
    expect(keyedBy('a', [{ ...other, enabled: false }], null)).toBe('')
    expect(keyedBy('a', [{ ...other, until: '2020-01-01T00:00:00Z' }], null)).toBe('')
    const talks = other.members.map((member) => ({ ...member, direction: 'talk' as const }))
    expect(keyedBy('a', [{ ...other, members: talks }], null)).toBe('')
  })
})
