import type { Channel, OrganizationRef, System } from '@/api/types'

export interface SystemGroup {
  id: string
  name: string
  kind: Channel['kind']
  channels: Channel[]
}

/** Channels under their systems, in order of name and address. */
export function bySystem(
  channels: Iterable<Channel>,
  systems: ReadonlyMap<string, System>,
  locale: string,
): SystemGroup[] {
  const compare = new Intl.Collator(locale, { numeric: true }).compare
  const groups = new Map<string, SystemGroup>()
  for (const channel of channels) {
    const { system, kind } = channel
    const id = systemOf(channel)
    const own = typeof system === 'string' ? '' : system.name
    const name = systems.get(id)?.name ?? own
    const group = groups.get(id) ?? { id, name, kind, channels: [] }
    groups.set(id, group)
    group.channels.push(channel)
  }
  for (const group of groups.values()) group.channels.sort((a, b) => compare(a.address, b.address))
  return [...groups.values()].sort((a, b) => compare(a.name, b.name))
}

export function systemOf({ system }: Channel): string {
  return typeof system === 'string' ? system : system.id
}

export function isRef(organization: OrganizationRef | string): organization is OrganizationRef {
  return typeof organization !== 'string'
}

const HEALTHY = new Set(['ok', 'healthy', 'good', 'online', 'up'])
const GONE = new Set(['offline', 'down', 'lost', 'failed'])

/** A channel's `health`, in the words that the console shows. */
export function healthOf(health: string | null | undefined): 'ok' | 'degraded' | 'offline' | 'unknown' {
  if (!health || health === 'unknown') return 'unknown'
  if (HEALTHY.has(health)) return 'ok'
  return GONE.has(health) ? 'offline' : 'degraded'
}
