import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { Point } from '@/api/types'

const AT_ONCE = 6

/** Points by their ids, a few requests at a time; one that is not seen any more is left out. */
export async function loadPoints(
  api: Pick<Api, 'point'>,
  ids: readonly (string | null)[],
): Promise<Map<string, Point>> {
  const wanted = [...new Set(ids.filter((id): id is string => id !== null))]
  const found = new Map<string, Point>()
  async function work(): Promise<void> {
    for (let id = wanted.shift(); id !== undefined; id = wanted.shift()) {
      try {
        found.set(id, await api.point(id))
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 404) throw error
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return found
}
