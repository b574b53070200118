import { onScopeDispose, ref, type Ref } from 'vue'

/** The time in ms, renewed every second while the component lives. */
export function useNow(): Ref<number> {
  const now = ref(Date.now())
  const timer = setInterval(() => (now.value = Date.now()), 1000)
  onScopeDispose(() => clearInterval(timer))
  return now
}

/** The beginning of the present minute in ms. One timer per component, woken once a minute. */
export function useMinute(): Ref<number> {
  const begin = () => Math.floor(Date.now() / 60_000) * 60_000
  const minute = ref(begin())
  let timer: ReturnType<typeof setTimeout>
  const wait = () => {
    timer = setTimeout(
      () => {
        minute.value = begin()
        wait()
      },
      60_050 - (Date.now() % 60_000),
    )
  }
  wait()
  onScopeDispose(() => clearTimeout(timer))
  return minute
}
