import { onScopeDispose, ref, shallowRef } from 'vue'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { EventStream } from '@/api/stream'
import type { Point } from '@/api/types'
import { applyStatus, type StatusMessage } from '@/points/list'

const MOST = 5000
const PAGE = 500
const REDRAW_MS = 500

/** The points of the map: all of them, or, where they are too many, those in view. */
export function useMapPoints(api: Api, stream: EventStream) {
  const points = shallowRef<Point[]>([])
  const total = ref(0)
  const problem = shallowRef<Problem | null>(null)
  let asking: AbortController | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let live: Point[] = []

  async function load(bbox = ''): Promise<void> {
    asking?.abort()
    const mine = (asking = new AbortController())
    try {
      const first = await api.points({ bbox }, PAGE, null, mine.signal)
      const all = [...first.items]
      let { next } = first
      while (next && all.length < MOST) {
        const page = await api.points({ bbox }, PAGE, next, mine.signal)
        all.push(...page.items)
        next = page.next
      }
      live = all
      points.value = all.slice()
      total.value = first.total
      problem.value = null
    } catch (error) {
      if (!mine.signal.aborted && error instanceof Problem) problem.value = error
    }
  }

  /** Loads what is in view, unless everything is here already. */
  function follow(bbox: string): void {
    if (total.value > MOST) void load(bbox)
  }

  const off = stream.on('point', (data) => {
    if (!applyStatus(live, data as StatusMessage)) return
    timer ??= setTimeout(() => {
      timer = undefined
      points.value = live.slice()
    }, REDRAW_MS)
  })
  onScopeDispose(() => {
    off()
    clearTimeout(timer)
    asking?.abort()
  })
  return { points, total, problem, load, follow }
}
