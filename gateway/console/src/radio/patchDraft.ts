import type { Channel, Patch, PatchChanges, PatchMember } from '@/api/types'
import { covers } from '@/session/session'

/** A number while it is typed: '' where nothing stands. */
export type Amount = number | ''

/** A patch while somebody makes or changes it. organization: a path. until: local, '' for never. */
export type PatchDraft = Pick<
  Patch,
  'name' | 'enabled' | 'members' | 'voice' | 'queue' | 'schedule' | 'encrypted' | 'units' | 'calls'
> &
  Record<AmountField, Amount> & { organization: string; until: string }

export type DraftField = keyof PatchDraft
export type AmountField = keyof typeof LIMITS_S

/** Seconds that the gateway takes. */
export const LIMITS_S = {
  hang_s: { least: 0, most: 60 },
  max_talk_s: { least: 1, most: 3600 },
  queue_timeout_s: { least: 1, most: 600 },
  revoke_grace_s: { least: 0, most: 10 },
  penalty_s: { least: 0, most: 600 },
  emergency_hold_s: { least: 5, most: 3600 },
} as const
export const PRIORITY = { least: 0, most: 254 }
export const MOST_MEMBERS = 200
export const MOST_NAME = 200
export const CALLS = ['voice', 'emergency', 'dispatch'] as const
export const ADVANCED: readonly string[] = [
  ...['revoke_grace_s', 'penalty_s', 'emergency_hold_s', 'encrypted', 'units', 'calls'],
]

const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T

/** What a new patch is unless somebody says otherwise, as the gateway has it. */
export function newDraft(organization: string, members: readonly PatchMember[] = [], name = ''): PatchDraft {
  return {
    ...{ name, organization, members: copy([...members]), enabled: true, voice: 'frames' },
    ...{ hang_s: 2, max_talk_s: 60, queue: false, queue_timeout_s: 30, until: '', schedule: null },
    ...{ revoke_grace_s: 0, penalty_s: 0, emergency_hold_s: 120, encrypted: false },
    ...{ units: { allow: [], deny: [] }, calls: { allow: [], deny: [] } },
  }
}

export function draftOf(patch: Patch): PatchDraft {
  const draft = newDraft(patch.organization.path)
  for (const field of fieldsOf(draft)) {
    if (field === 'organization' || field === 'until') continue
    Object.assign(draft, { [field]: copy(patch[field]) })
  }
  return { ...draft, until: localTime(patch.until) }
}

export const draftOr = (patch: Patch | null, start: PatchDraft): PatchDraft =>
  patch ? draftOf(patch) : copy(start)

export const memberOf = (channel: string): PatchMember => ({ channel, direction: 'both', priority: 0 })

/**
 * What has to be sent: nothing but what differs from `before`, so that whatever this console does
 * not know stays as it is. before: the draft of the patch as it was read.
 */
export function changesOf(before: PatchDraft, draft: PatchDraft): PatchChanges {
  const changes = fieldsOf(draft).filter((field) => differs(draft[field], before[field]))
  return Object.fromEntries(changes.map((field) => [field, sent(draft, field)]))
}

/** All of it, of a patch that is made. */
export function bodyOf(draft: PatchDraft): PatchChanges {
  return Object.fromEntries(fieldsOf(draft).map((field) => [field, sent(draft, field)]))
}

function sent(draft: PatchDraft, field: DraftField): unknown {
  if (field === 'name') return draft.name.trim()
  if (field === 'until') return sentTime(draft.until)
  return copy(draft[field])
}

/** What is no time goes as it was written: the gateway says what is wrong with it. */
function sentTime(local: string): string | null {
  const at = new Date(local)
  return Number.isNaN(at.getTime()) ? local || null : at.toISOString()
}

export interface News {
  field: DraftField
  /** What was typed stands, although somebody else changed it too. */
  kept: boolean
}

/**
 * The draft on top of what somebody else saved meanwhile: what was typed is kept, all else is as it
 * is now. before: as it was read; now: as it is. news: what the other one changed.
 */
export function rebased(before: PatchDraft, draft: PatchDraft, now: PatchDraft) {
  const news: News[] = []
  const next = copy(now)
  for (const field of fieldsOf(draft)) {
    const mine = differs(draft[field], before[field])
    if (mine) Object.assign(next, { [field]: copy(draft[field]) })
    if (differs(now[field], before[field])) {
      news.push({ field, kept: mine && differs(draft[field], now[field]) })
    }
  }
  return { draft: next, news }
}

/** What is wrong before the gateway is asked, by field: words of `radio.patch.wrong`. */
export function faultsOf(draft: PatchDraft): Map<string, { key: string; least?: number; most?: number }> {
  const found = new Map<string, { key: string; least?: number; most?: number }>()
  const name = draft.name.trim()
  if (!name) found.set('name', { key: 'missing' })
  for (const [field, limits] of Object.entries(LIMITS_S)) {
    if (!within(draft[field as AmountField], limits)) found.set(field, { key: 'range', ...limits })
  }
  draft.members.forEach(({ priority }, at) => {
    const whole = Number.isInteger(priority) && within(priority, PRIORITY)
    if (!whole) found.set(`members.${at}.priority`, { key: 'whole', ...PRIORITY })
  })
  const { schedule } = draft
  if (schedule && !schedule.from) found.set('schedule.from', { key: 'missing' })
  if (schedule && !schedule.to) found.set('schedule.to', { key: 'missing' })
  return found
}

const within = (value: Amount, { least, most }: { least: number; most: number }) =>
  value !== '' && value >= least && value <= most

/** Path of the organisation that contains all of these, '' if none does. */
export function commonPath(paths: readonly string[]): string {
  const [first = '', ...others] = paths
  const parts = first.split('/')
  while (parts.length && !others.every((path) => covers(parts.join('/'), path))) parts.pop()
  return parts.join('/')
}

/** Where a patch of these channels belongs: to what contains them all, as far as one may. */
export function ownerOf(paths: readonly string[], may: (path: string) => boolean): string {
  const wanted = [commonPath(paths), ...paths]
  return wanted.find((path) => path !== '' && may(path)) ?? ''
}

/** A name until somebody thinks of a better one. */
export function nameOf(channels: readonly Channel[]): string {
  return channels
    .map(({ name }) => name)
    .join(' + ')
    .slice(0, MOST_NAME)
}

/** `YYYY-MM-DDTHH:mm` by the clock on the wall here, as a date field takes it. */
export function localTime(time: string | null): string {
  const at = time ? new Date(time) : null
  if (!at || Number.isNaN(at.getTime())) return ''
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000)
  return local.toISOString().slice(0, 16)
}

const fieldsOf = (draft: PatchDraft) => Object.keys(draft) as DraftField[]

function differs(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) !== JSON.stringify(b)
}
