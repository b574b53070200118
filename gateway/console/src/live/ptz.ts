import { ref } from 'vue'
import type { Api } from '@/api/api'
import { reasonOf } from '@/api/problem'

export interface Direction {
  pan?: number
  tilt?: number
  zoom?: number
}
type Mover = Pick<Api, 'movePtz' | 'presets' | 'putPreset' | 'deletePreset'>

/** Asked for again before the last one is over, so that a held button does not stutter. */
export const MOVE_MS = 5000
const AGAIN_MS = 4000

/**
 * Moving one camera: it moves while a button is held. Letting go closes the request, at which the
 * gateway stops the camera, and says stop besides; so a page that dies leaves no camera turning.
 */
export function createPtz(api: Mover, pointId: string) {
  const moving = ref(false)
  const problem = ref('')
  const presets = ref<string[]>([])
  let running: AbortController | null = null
  let timer: ReturnType<typeof setInterval> | undefined

  function press(direction: Direction): void {
    if (moving.value) return
    moving.value = true
    problem.value = ''
    ask(direction)
    timer = setInterval(() => ask(direction), AGAIN_MS)
  }

  function release(): void {
    if (!moving.value) return
    settle()
    api.movePtz(pointId, { stop: true }, undefined, true).catch(tell)
  }

  function ask(direction: Direction): void {
    const before = running
    const own = (running = new AbortController())
    api
      .movePtz(pointId, { ...direction, duration_ms: MOVE_MS }, own.signal)
      .catch((error: unknown) => {
        if (own.signal.aborted) return
        settle()
        tell(error)
      })
    // The movement before is taken over by now; closing it earlier would stop the camera.
    if (before) setTimeout(() => before.abort(), MOVE_MS - AGAIN_MS)
  }

  function settle(): void {
    moving.value = false
    clearInterval(timer)
    running?.abort()
    running = null
  }

  async function load(): Promise<void> {
    await attempt(async () => {
      presets.value = (await api.presets(pointId)).items.map(({ name }) => name)
    })
  }

  const goTo = (preset: string) =>
    attempt(async () => void (await api.movePtz(pointId, { preset })))

  const keep = (name: string) =>
    attempt(async () => {
      await api.putPreset(pointId, name)
      if (!presets.value.includes(name)) presets.value = [...presets.value, name]
    })

  const remove = (name: string) =>
    attempt(async () => {
      await api.deletePreset(pointId, name)
      presets.value = presets.value.filter((each) => each !== name)
    })

  async function attempt(work: () => Promise<void>): Promise<void> {
    problem.value = ''
    await work().catch(tell)
  }

  function tell(error: unknown): void {
    problem.value = reasonOf(error)
  }

  return { moving, problem, presets, press, release, load, goTo, keep, remove }
}

