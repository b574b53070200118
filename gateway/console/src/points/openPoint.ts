import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { Wall } from '@/live/wall'

/** Opens a point by its id. False when there is none that this user may see. */
export async function openPoint(api: Api, wall: Wall, id: string): Promise<boolean> {
  if (wall.shown.value.some((place) => place?.id === id)) return true
  try {
    wall.show(await api.point(id))
    return true
  } catch (error) {
    if (error instanceof Problem) return false
    throw error
  }
}
