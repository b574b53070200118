import type { Channel, Patch } from '@/api/types'

/** A patch as the gateway answers it. */
export const patchOf = (changes: Partial<Patch> = {}): Patch => ({
  ...{ id: 'p', version: 3, name: 'Command', enabled: true, voice: 'frames', state: null },
  ...{ organization: { id: 'o', path: 'd/s', name: 'Station' } },
  ...{ hang_s: 2, max_talk_s: 60, queue: false, queue_timeout_s: 30, until: null, schedule: null },
  ...{ revoke_grace_s: 0, penalty_s: 0, emergency_hold_s: 120, encrypted: false },
  ...{ units: { allow: [], deny: [] }, calls: { allow: [], deny: [] } },
  members: [
    { channel: 'a', direction: 'both', priority: 0, muted: false },
    { channel: 'b', direction: 'both', priority: 5, muted: true },
  ],
  ...changes,
})

export const channelOf = (id: string, changes: Partial<Channel> = {}): Channel => ({
  ...{ id, system: 's', address: id, name: `channel ${id}`, kind: 'trunk', state: null },
  ...{ organization: { id: 'o', path: 'd/s', name: 'Station' } },
  ...changes,
})
