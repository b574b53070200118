import { onBeforeUnmount, onMounted, ref, type Ref } from 'vue'

/** How long something is out of sight before it counts: scrolling past ends nothing. */
export const OUT_OF_SIGHT_MS = 1500

/**
 * Whether an element is on the screen, of a page that is. It becomes true at once, and false only
 * after a while.
 */
export function useOnScreen(element: Ref<HTMLElement | null>, margin = '0px'): Ref<boolean> {
  const seen = ref(true)
  let inside = true
  let timer: ReturnType<typeof setTimeout> | undefined
  let observer: IntersectionObserver | null = null

  function judge(): void {
    clearTimeout(timer)
    if (inside && document.visibilityState !== 'hidden') seen.value = true
    else if (seen.value) timer = setTimeout(() => (seen.value = false), OUT_OF_SIGHT_MS)
  }

  onMounted(() => {
    document.addEventListener('visibilitychange', judge)
    if (typeof IntersectionObserver !== 'function' || !element.value) return
    observer = new IntersectionObserver(
      (entries) => {
        inside = entries.at(-1)?.isIntersecting ?? inside
        judge()
      },
      { rootMargin: margin },
    )
    observer.observe(element.value)
  })
  onBeforeUnmount(() => {
    document.removeEventListener('visibilitychange', judge)
    clearTimeout(timer)
    observer?.disconnect()
  })
  return seen
}
