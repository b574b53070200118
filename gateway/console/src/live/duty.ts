import { computed, reactive, shallowRef } from 'vue'
import type { Api } from '@/api/api'
import type { Tour } from '@/api/types'
import { loadPoints } from './loadPoints'
import type { Patrol } from './patrol'

export type Duty = ReturnType<typeof createDuty>

/**
 * The tours, those on duty first: a response level, or a dispatcher, wants them watched now.
 *
 * offered: the first on duty that does not run here and was not put off. What went off duty since
 * is offered again when it comes back.
 */
export function createDuty(api: Pick<Api, 'tours' | 'point'>, patrol: Patrol) {
  const tours = shallowRef<Tour[]>([])
  const late = reactive(new Set<string>())
  const offered = computed(
    () =>
      tours.value.find(
        ({ id, on_duty }) => on_duty && id !== patrol.state.tour?.id && !late.has(id),
      ) ?? null,
  )

  async function load(): Promise<void> {
    const found = await api.tours()
    tours.value = [...found.filter((tour) => tour.on_duty), ...found.filter((tour) => !tour.on_duty)]
    for (const id of [...late]) {
      if (!found.some((tour) => tour.id === id && tour.on_duty)) late.delete(id)
    }
  }

  /** Whether it runs now: not where none of its cameras may be seen. */
  async function begin(tour: Tour): Promise<boolean> {
    const ids = tour.groups.flatMap(({ points }) => points)
    patrol.start(tour, await loadPoints(api, ids))
    return patrol.state.tour !== null
  }

  function putOff(tour: Tour): void {
    late.add(tour.id)
  }

  function clear(): void {
    tours.value = []
    late.clear()
  }

  return { tours, offered, load, begin, putOff, clear }
}
