import { onScopeDispose, ref, shallowRef, triggerRef, watch, type Ref } from 'vue'
import type { Api, PointFilter } from '@/api/api'
import { Problem } from '@/api/problem'
import type { EventStream } from '@/api/stream'
import type { Point, PointStatus } from '@/api/types'

const PAGE = 100
const TYPING_MS = 250

export interface StatusMessage {
  id: string
  status: PointStatus
  since: string | null
  reason: string | null
}

/** A list of points under a filter, page after page, whose status follows the event stream. */
export function usePointList(api: Api, stream: EventStream, filter: Ref<PointFilter>) {
  const items = shallowRef<Point[]>([])
  const total = ref(0)
  const loading = ref(false)
  const problem = shallowRef<Problem | null>(null)
  let next: string | null = null
  let asking: AbortController | null = null
  let timer: ReturnType<typeof setTimeout> | undefined

  async function ask(cursor: string | null): Promise<void> {
    asking?.abort()
    const mine = (asking = new AbortController())
    loading.value = true
    try {
      const page = await api.points(filter.value, PAGE, cursor, mine.signal)
      items.value = cursor ? [...items.value, ...page.items] : page.items
      total.value = page.total
      next = page.next
      problem.value = null
    } catch (error) {
      if (!mine.signal.aborted && error instanceof Problem) problem.value = error
    } finally {
      if (asking === mine) loading.value = false
    }
  }

  const load = () => ask(null)
  const more = () => (next && !loading.value ? ask(next) : undefined)

  const unwatch = watch(filter, (now, before) => {
    clearTimeout(timer)
    const typing = now.q !== before.q
    timer = setTimeout(() => void load(), typing ? TYPING_MS : 0)
  })
  const off = stream.on('point', (data) => {
    if (applyStatus(items.value, data as StatusMessage)) triggerRef(items)
  })
  const reload = stream.whenOpened(() => void load())
  onScopeDispose(() => {
    for (const undo of [unwatch, off, reload]) undo()
    clearTimeout(timer)
    asking?.abort()
  })
  return { items, total, loading, problem, load, more }
}

/** Writes a status message into the list. True when the list holds that point. */
export function applyStatus(items: (Point | null)[], message: StatusMessage): boolean {
  const index = items.findIndex((item) => item?.id === message.id)
  const point = items[index]
  if (!point) return false
  items[index] = {
    ...point,
    status: message.status,
    status_since: message.since,
    status_reason: message.reason,
  }
  return true
}
