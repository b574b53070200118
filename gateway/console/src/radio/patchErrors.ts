import { Problem } from '@/api/problem'
import { LIMITS_S } from './patchDraft'

/** Reasons by the place of a field, such as `members.0.priority`. */
export type Located = ReadonlyMap<string, string>

/** The located reasons of a refusal; the gateway writes a place as `members.0.x` or `members[0].x`. */
export function locatedOf(error: unknown): Located {
  const found = new Map<string, string>()
  const errors = error instanceof Problem ? error.errors : null
  for (const each of Array.isArray(errors) ? (errors as Record<string, unknown>[]) : []) {
    const { field, reason } = each
    if (typeof field !== 'string' || typeof reason !== 'string') continue
    const place = field.replace(/\[(\d+)\]/g, '.$1')
    const before = found.get(place)
    found.set(place, before ? `${before}; ${reason}` : reason)
  }
  return found
}

/** What is said of a field and of all below it. */
export function reasonsAt(located: Located, field: string): string {
  const own = [...located].filter(([place]) => below(place, field))
  return own.map(([, reason]) => reason).join('; ')
}

export const below = (place: string, field: string): boolean =>
  place === field || place.startsWith(`${field}.`)

/** The places beside which the form says what is wrong. */
const SHOWN = [
  ...['name', 'organization', 'members', 'voice', 'until', ...Object.keys(LIMITS_S)],
  ...['from', 'to', 'timezone', 'days'].map((part) => `schedule.${part}`),
  ...['units.allow', 'units.deny', 'calls.allow', 'calls.deny'],
]

export const isShown = (place: string): boolean => SHOWN.some((field) => below(place, field))
