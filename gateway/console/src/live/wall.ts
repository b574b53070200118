import { computed, reactive } from 'vue'
import type { Point } from '@/api/types'

export const SIZES = [1, 4, 9, 16, 25] as const
export type Size = (typeof SIZES)[number]
const MOST = 25

export type Wall = ReturnType<typeof createWall>

/** The smallest wall that has a place for each. */
export function sizeFor(points: number): Size {
  return SIZES.find((size) => size >= points) ?? MOST
}

/**
 * Which points stand in which place of the grid. It outlives the page that shows it.
 *
 * enlarged: the place that covers the others. audible: the point whose sound is on. saved: the
 * layout that it was loaded from.
 */
export function createWall() {
  const state = reactive({
    size: 1 as Size,
    selected: 0,
    enlarged: null as number | null,
    audible: null as string | null,
    saved: null as { id: string; version: number; name: string } | null,
    places: Array.from({ length: MOST }, (): Point | null => null),
  })
  const shown = computed(() => state.places.slice(0, state.size))

  /** Shows a point: where it already is, else in the selected place; then moves on to a free one. */
  function show(point: Point): void {
    const { places, size } = state
    const present = shown.value.findIndex((place) => place?.id === point.id)
    if (present >= 0) {
      state.selected = present
      if (state.enlarged !== null) state.enlarged = present
      return
    }
    const free = places.slice(0, size).findIndex((place) => place === null)
    const at = places[state.selected] && free >= 0 ? free : state.selected
    put(point, at)
  }

  /** Puts a point in a place; one that stands in another place moves, and they change places. */
  function put(point: Point, at: number): void {
    const from = shown.value.findIndex((place) => place?.id === point.id)
    if (from >= 0 && from !== at) state.places[from] = state.places[at] ?? null
    state.places[at] = point
    state.selected = at
    if (state.enlarged !== null) state.enlarged = at
  }

  function move(from: number, to: number): void {
    const point = state.places[from]
    if (point && from !== to) put(point, to)
  }

  function remove(index: number): void {
    if (state.enlarged === index) state.enlarged = null
    if (state.audible === state.places[index]?.id) state.audible = null
    state.places[index] = null
    state.selected = index
  }

  /** Growing keeps what is shown; shrinking keeps the selected one, then the first ones. */
  function resize(size: Size): void {
    if (size < state.size) {
      const kept = state.places[state.selected] ?? null
      const all = shown.value.filter((place): place is Point => place !== null)
      const fits = all.slice(0, size)
      if (kept && !fits.includes(kept)) fits[size - 1] = kept
      state.places = filled(size === 1 && kept ? [kept] : fits)
      state.selected = kept ? Math.max(0, state.places.indexOf(kept)) : 0
    }
    state.enlarged = null
    state.size = size
  }

  function enlarge(index: number | null): void {
    state.enlarged = state.size > 1 && index !== null && state.places[index] ? index : null
    if (index !== null) state.selected = index
  }

  /** What is known of a point by now, wherever it stands. */
  function refresh(point: Point): void {
    state.places = state.places.map((place) => (place?.id === point.id ? point : place))
  }

  /** Another layout altogether. */
  function lay(size: Size, points: readonly (Point | null)[]): void {
    Object.assign(state, { size, selected: 0, enlarged: null, audible: null })
    state.places = filled(points.slice(0, size))
  }

  function clear(): void {
    lay(1, [])
    state.saved = null
  }

  return { state, shown, show, put, move, remove, resize, enlarge, refresh, lay, clear }
}

function filled(points: readonly (Point | null)[]): (Point | null)[] {
  return Array.from({ length: MOST }, (_, index) => points[index] ?? null)
}
