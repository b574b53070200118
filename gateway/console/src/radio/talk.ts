import { ref } from 'vue'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { TalkAnswer } from '@/api/types'

export type TalkState = 'off' | 'asking' | 'granted' | 'queued' | 'denied' | 'failed'
type Talker = Pick<Api, 'talk'>

const REFRESH_MS = 1000
/** The gateway drops a press that is not refreshed for 2 s, so it may miss one and not two. */
const MOST_MISSED = 2
/** The reason when the gateway did not answer at all. */
export const UNREACHABLE = 'unreachable'

/**
 * A dispatcher's press on one channel: press, refresh every second while held, release.
 * Requests go one after another, so that a release never overtakes its own press.
 */
export function createTalk(api: Talker, channelId: string) {
  const state = ref<TalkState>('off')
  const position = ref<number | null>(null)
  const reason = ref('')
  let held = false
  let missed = 0
  let pending = 0
  let timer: ReturnType<typeof setInterval> | undefined
  let tail: Promise<void> = Promise.resolve()

  function press(): void {
    if (held) return
    held = true
    missed = 0
    state.value = 'asking'
    reason.value = ''
    send('press')
    timer = setInterval(() => {
      if (pending === 0) send('refresh')
    }, REFRESH_MS)
  }

  /** atOnce: the page is going away, so nothing can be waited for. */
  function release(atOnce = false): void {
    if (!held) return
    settle('off')
    const last = () => api.talk(channelId, 'release', true).then(nothing, nothing)
    if (atOnce) void last()
    else tail = tail.then(last)
  }

  function send(action: 'press' | 'refresh'): void {
    pending += 1
    tail = tail
      .then(() => (held ? api.talk(channelId, action) : null))
      .then(answered, refused)
      .finally(() => (pending -= 1))
  }

  function answered(answer: TalkAnswer | null): void {
    missed = 0
    if (!held || !answer) return
    position.value = answer.position
    if (answer.state === 'granted' || answer.state === 'queued') {
      state.value = answer.state
      return
    }
    reason.value = answer.reason ?? ''
    stop()
    state.value = answer.state === 'denied' ? 'denied' : 'failed'
  }

  function refused(error: unknown): void {
    if (!held) return
    const problem = error instanceof Problem ? error : new Problem(0, String(error))
    const passing = problem.status === 0 || problem.status >= 500
    missed += 1
    if (passing && missed < MOST_MISSED) return
    reason.value = problem.status === 0 ? UNREACHABLE : (problem.detail ?? problem.title)
    const wasGranted = state.value !== 'asking'
    release()
    state.value = wasGranted || passing ? 'failed' : 'denied'
  }

  /** Stops refreshing, but what was shown stays until the button is let go. */
  function stop(): void {
    clearInterval(timer)
  }

  function settle(to: TalkState): void {
    held = false
    clearInterval(timer)
    state.value = to
    position.value = null
  }

  /** The button was let go after a refusal: back to rest. */
  function rest(): void {
    if (!held) settle('off')
  }

  return { state, position, reason, press, release, rest }
}

function nothing(): void {
  return undefined
}
