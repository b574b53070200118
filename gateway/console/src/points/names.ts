import { reactive } from 'vue'
import type { Api } from '@/api/api'
import type { Point } from '@/api/types'

const MOST = 5000

export type PointNames = ReturnType<typeof createPointNames>

/** Names of points for the event list: learnt from what is on the screen, else asked for once. */
export function createPointNames(api: Api) {
  const names = reactive(new Map<string, string>())
  const asked = new Set<string>()

  function learn(points: readonly Pick<Point, 'id' | 'name'>[]): void {
    if (names.size > MOST) names.clear()
    for (const { id, name } of points) names.set(id, name)
  }

  function nameOf(id: string): string | null {
    const name = names.get(id)
    if (name === undefined && !asked.has(id) && asked.size < MOST) {
      asked.add(id)
      api.point(id).then(
        (point) => learn([point]),
        () => undefined,
      )
    }
    return name ?? null
  }

  function clear(): void {
    names.clear()
    asked.clear()
  }

  return { learn, nameOf, clear }
}
