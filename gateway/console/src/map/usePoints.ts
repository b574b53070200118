import { onScopeDispose, ref, shallowRef } from 'vue'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { EventStream } from '@/api/stream'
import type { Cluster, Point } from '@/api/types'
import { applyStatus, type StatusMessage } from '@/points/list'

const MOST = 5000
const PAGE = 500
const REDRAW_MS = 500
/** A zoom at which a province fills the screen. */
const PROVINCE = 6

/** The points of the map: all of them, or, where they are too many, those in view; where these
 * are too many as well, how many there are in each cell. */
export function useMapPoints(api: Api, stream: EventStream) {
  const points = shallowRef<Point[]>([])
  const cells = shallowRef<Cluster[]>([])
  const total = ref(0)
  const problem = shallowRef<Problem | null>(null)
  let asking: AbortController | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let live: Point[] = []

  async function load(bbox = '', zoom = PROVINCE): Promise<void> {
    asking?.abort()
    const mine = (asking = new AbortController())
    try {
      const first = await api.points({ bbox }, PAGE, null, mine.signal)
      if (!bbox) total.value = first.total
      if (first.total > MOST) {
        // The map's own tiles are 512 pixels wide, those of the zoom that is asked for 256.
        cells.value = (await api.clusters(Math.min(22, Math.round(zoom) + 1), bbox, mine.signal)).items
        live = []
        points.value = []
        problem.value = null
        return
      }
      const all = [...first.items]
      let { next } = first
      while (next && all.length < MOST) {
        const page = await api.points({ bbox }, PAGE, next, mine.signal)
        all.push(...page.items)
        next = page.next
      }
      live = all
      points.value = all.slice()
      cells.value = []
      problem.value = null
    } catch (error) {
      if (!mine.signal.aborted && error instanceof Problem) problem.value = error
    }
  }

  /** Loads what is in view, unless everything is here already. */
  function follow(bbox: string, zoom: number): void {
    if (total.value > MOST) void load(bbox, zoom)
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
  return { points, cells, total, problem, load, follow }
}
