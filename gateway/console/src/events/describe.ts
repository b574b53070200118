import type { BusEvent } from '@/api/types'

export type Tone = 'talk' | 'quiet' | 'notice' | 'alarm'
export type Group = 'radio' | 'camera' | 'other'

export interface Description {
  /** The type without its prefix, `floor.taken`. */
  name: string
  group: Group
  tone: Tone
  /** Whether somebody should see to it. */
  alarm: boolean
  who: string | null
  reason: string | null
}

const TONES: Record<string, Tone> = {
  'floor.taken': 'talk',
  'floor.granted': 'talk',
  'floor.denied': 'notice',
  'floor.queued': 'notice',
  'floor.revoked': 'notice',
  'member.suspended': 'alarm',
  'system.alarm': 'alarm',
  'emergency.raised': 'alarm',
  'emergency.undelivered': 'alarm',
  'point.tamper': 'alarm',
  'point.signal_lost': 'alarm',
  'point.alarm': 'alarm',
  'point.motion': 'notice',
  'point.quality': 'notice',
}

const ALARMS = new Set([
  ...['emergency.raised', 'emergency.undelivered', 'member.suspended', 'system.alarm'],
  ...['point.alarm', 'point.tamper', 'point.signal_lost'],
])
const RADIO = /^(floor|emergency|unit|member|system|text|call|channel|patch)\./

/** What a list shows of an event, apart from the names of things. */
export function describe(event: BusEvent): Description {
  const name = event.type.replace(/^hutong\./, '')
  const group: Group = name.startsWith('point.') ? 'camera' : RADIO.test(name) ? 'radio' : 'other'
  const { emergency, talker_alias, talker, unit, alias, reason, outcome, text } = event.data ?? {}
  const tone = emergency === true ? 'alarm' : (TONES[name] ?? 'quiet')
  return {
    name,
    group,
    tone,
    alarm: ALARMS.has(name) && event.data?.active !== false,
    who: firstText(talker_alias, alias, addressOf(talker), addressOf(unit)),
    reason: firstText(text, reason, outcome),
  }
}

/** `{system_id}/{address}` → the address: what stands on the radio itself. */
export function addressOf(talker: unknown): string | null {
  if (typeof talker !== 'string' || !talker) return null
  return talker.slice(talker.indexOf('/') + 1)
}

function firstText(...values: unknown[]): string | null {
  for (const value of values) if (typeof value === 'string' && value) return value
  return null
}
