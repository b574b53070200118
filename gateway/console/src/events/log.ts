import { shallowRef } from 'vue'
import type { Api } from '@/api/api'
import type { EventStream } from '@/api/stream'
import type { BusEvent } from '@/api/types'

const KEPT = 500
const HISTORY = 100
/** That a talk still lives, and what became of our own commands: of no interest in a list. The
 * stream leaves them out, history does not. */
const UNTOLD = new Set(['hutong.floor.refreshed', 'hutong.command.result'])

export type EventLog = ReturnType<typeof createEventLog>

/** The newest events, newest first: history at each connection, then the stream. */
export function createEventLog(api: Api, stream: EventStream) {
  const items = shallowRef<BusEvent[]>([])

  function add(events: readonly BusEvent[]): void {
    items.value = merge(items.value, events)
  }

  async function load(): Promise<void> {
    const page = await api.events({ limit: HISTORY })
    add(page.items)
  }

  /** Everybody's from then on; told by the answer, as no stream tells it. */
  async function acknowledge(event: BusEvent): Promise<BusEvent> {
    const seen = await api.acknowledge(event.id)
    add([seen])
    return seen
  }

  function clear(): void {
    items.value = []
  }

  stream.on('event', (data) => add([data as BusEvent]))
  stream.whenOpened(() => void load().catch(() => undefined))
  return { items, acknowledge, clear }
}

/** Newest first, each id once, bounded. What somebody saw to meanwhile says so. */
export function merge(old: readonly BusEvent[], more: readonly BusEvent[]): BusEvent[] {
  const seen = new Map(more.filter((event) => event.acknowledgedat).map((event) => [event.id, event]))
  const known = old.map((event) => seen.get(event.id) ?? event)
  const ids = new Set(known.map(({ id }) => id))
  const fresh: BusEvent[] = []
  for (const event of more) {
    if (UNTOLD.has(event.type) || ids.has(event.id)) continue
    ids.add(event.id)
    fresh.push(event)
  }
  if (fresh.length === 0) return known.slice()
  return [...fresh, ...known]
    .sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0))
    .slice(0, KEPT)
}
