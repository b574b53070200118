import type { Tour, TourChanges } from '@/api/types'

export const MOST_GROUPS = 100
/** As many as the largest wall has tiles. */
export const MOST_POINTS = 25
export const DWELL_S = { least: 5, most: 3600 }

/** key: stays with the group wherever it moves. hidden: points that this user may not see. */
export interface DraftGroup {
  key: number
  name: string
  points: string[]
  hidden: number
}

/** A tour while somebody changes it. */
export interface TourDraft {
  name: string
  dwellS: number
  onDuty: boolean
  groups: DraftGroup[]
}

export function draftOf(tour: Tour): TourDraft {
  const groups = tour.groups.map((group, key) => ({ ...group, key, points: [...group.points] }))
  return { name: tour.name, dwellS: tour.dwell_s, onDuty: tour.on_duty, groups }
}

/**
 * The groups of a change replace all that were there, points too that this user does not see: with
 * such points in it, a tour keeps its groups.
 */
export const groupsLocked = (tour: Tour): boolean => tour.hidden > 0

/** What has to be sent: nothing but what differs from the tour. */
export function changesOf(tour: Tour, draft: TourDraft): TourChanges {
  const changes: TourChanges = {}
  const name = draft.name.trim()
  if (name !== tour.name) changes.name = name
  if (draft.dwellS !== tour.dwell_s) changes.dwell_s = draft.dwellS
  if (draft.onDuty !== tour.on_duty) changes.on_duty = draft.onDuty
  const plain = (groups: readonly { name: string; points: readonly string[] }[]) =>
    groups.map(({ name, points }) => ({ name: name.trim(), points: [...points] }))
  const groups = plain(draft.groups)
  const differs = JSON.stringify(groups) !== JSON.stringify(plain(tour.groups))
  if (differs && !groupsLocked(tour)) changes.groups = groups
  return changes
}

/** A group without a camera, which the gateway would not take. */
export const isEmpty = (group: DraftGroup): boolean => !group.points.length && !group.hidden

/** Which of them a group of these points can still take, each once. */
export function addable(points: readonly string[], ids: readonly string[]): string[] {
  const fresh = [...new Set(ids)].filter((id) => !points.includes(id))
  return fresh.slice(0, Math.max(0, MOST_POINTS - points.length))
}
