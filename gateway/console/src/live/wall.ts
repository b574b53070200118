import { reactive } from 'vue'
import type { Point } from '@/api/types'

export type Size = 1 | 4
const MOST = 4

export type Wall = ReturnType<typeof createWall>

/** Which points stand in which place of the grid. It outlives the page that shows it. */
export function createWall() {
  const state = reactive({
    size: 1 as Size,
    selected: 0,
    places: Array.from({ length: MOST }, (): Point | null => null),
  })

  /** Shows a point: where it already is, else in the selected place; then moves on to a free one. */
  function show(point: Point): void {
    const { places, size } = state
    const present = places.slice(0, size).findIndex((place) => place?.id === point.id)
    if (present >= 0) {
      state.selected = present
      return
    }
    const free = places.slice(0, size).findIndex((place) => place === null)
    const at = places[state.selected] && free >= 0 ? free : state.selected
    places[at] = point
    state.selected = at
  }

  function remove(index: number): void {
    state.places[index] = null
    state.selected = index
  }

  /** Growing keeps what is shown; shrinking keeps the selected one. */
  function resize(size: Size): void {
    if (size === 1) {
      const kept = state.places[state.selected] ?? null
      if (kept) state.places = [kept, ...Array.from({ length: MOST - 1 }, () => null)]
      state.selected = 0
    }
    state.size = size
  }

  function clear(): void {
    state.places = state.places.map(() => null)
    state.selected = 0
    state.size = 1
  }

  return { state, show, remove, resize, clear }
}
