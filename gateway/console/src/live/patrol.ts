import { reactive } from 'vue'
import type { Point, Tour } from '@/api/types'
import { sizeFor, type Size } from './wall'

/** How long before its turn the next group is opened, in s, or half the dwell if that is less. */
const PREOPEN_S = 4

export interface Turn {
  name: string
  points: (Point | null)[]
}

export type Patrol = ReturnType<typeof createPatrol>

/**
 * 轮巡: the groups of a tour on the wall one after another, each for the dwell time. Shortly before
 * its turn the next group is opened out of sight, so that it appears with its pictures.
 *
 * turn: which group is seen. standby: the group that opens meanwhile, else null.
 */
export function createPatrol() {
  const state = reactive({
    tour: null as Tour | null,
    turns: [] as Turn[],
    size: 1 as Size,
    turn: 0,
    standby: null as number | null,
    held: false,
  })
  let timers: ReturnType<typeof setTimeout>[] = []

  /** points: those of the tour by id; what is missing is left out. */
  function start(tour: Tour, points: ReadonlyMap<string, Point>): void {
    stop()
    const turns = tour.groups
      .map(({ name, points: ids }) => ({ name, points: ids.flatMap((id) => points.get(id) ?? []) }))
      .filter((turn) => turn.points.length > 0)
    if (!turns.length) return
    const size = sizeFor(Math.max(...turns.map((turn) => turn.points.length)))
    Object.assign(state, { tour, turns, size, turn: 0, standby: null, held: false })
    wind()
  }

  function stop(): void {
    unwind()
    Object.assign(state, { tour: null, turns: [], turn: 0, standby: null, held: false })
  }

  /** Stays with the group that is seen. */
  function hold(held: boolean): void {
    state.held = held
    if (held) unwind()
    else wind()
  }

  function go(step: number): void {
    const { length } = state.turns
    if (!length) return
    state.turn = (state.turn + step + length) % length
    unwind()
    wind()
  }

  function wind(): void {
    const { tour, turns, held } = state
    if (!tour || held || turns.length < 2) return
    const dwellS = Math.max(1, tour.dwell_s)
    const next = (state.turn + 1) % turns.length
    const aheadS = Math.min(PREOPEN_S, dwellS / 2)
    timers = [
      setTimeout(() => (state.standby = next), (dwellS - aheadS) * 1000),
      setTimeout(() => go(1), dwellS * 1000),
    ]
  }

  function unwind(): void {
    timers.forEach(clearTimeout)
    timers = []
    state.standby = null
  }

  return { state, start, stop, hold, go }
}
