import { onBeforeUnmount, ref, shallowRef, watch } from 'vue'
import { useAttempt } from './attempt'

const WAIT_MS = 250

/** What is found for a text, a moment after it was typed; what nobody waits for any more stops. */
export function useSearch<Item>(ask: (q: string, signal: AbortSignal) => Promise<Item[]>) {
  const { problem, attempt } = useAttempt()
  const q = ref('')
  const found = shallowRef<Item[]>([])
  /** An answer is there: nothing found is nothing there. */
  const asked = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  let stop = new AbortController()

  watch(q, () => {
    forget()
    asked.value = false
    const wanted = q.value.trim()
    if (wanted) timer = setTimeout(() => void find(wanted, stop.signal), WAIT_MS)
    else found.value = []
  })
  onBeforeUnmount(forget)

  function forget() {
    clearTimeout(timer)
    stop.abort()
    stop = new AbortController()
  }

  async function find(wanted: string, signal: AbortSignal) {
    await attempt(async () => {
      try {
        found.value = await ask(wanted, signal)
        asked.value = true
      } catch (error) {
        if (!signal.aborted) throw error
      }
    })
  }

  return { q, found, asked, problem }
}
