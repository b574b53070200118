import { ref, shallowRef } from 'vue'

const KEY = 'hutong.purpose'
export const MOST_CHARACTERS = 200

export type Purpose = ReturnType<typeof createPurpose>

/**
 * Why this person watches, in their own words: asked for once, sent with every view, kept until
 * they change it, sign out or close the tab. asked: how many views wait for it.
 */
export function createPurpose(store: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>) {
  const text = ref(store.getItem(KEY) ?? '')
  /** How many bars ask for it on this page: where there is one, no tile needs to. */
  const bars = ref(0)
  const waiting = shallowRef(new Set<object>())

  function set(given: string): void {
    text.value = given.trim().slice(0, MOST_CHARACTERS)
    if (text.value) store.setItem(KEY, text.value)
    else store.removeItem(KEY)
  }

  /** A view waits for a purpose, or does so no longer. */
  function wait(view: object, does: boolean): void {
    if (waiting.value.has(view) === does) return
    const next = new Set(waiting.value)
    if (does) next.add(view)
    else next.delete(view)
    waiting.value = next
  }

  function clear(): void {
    set('')
    waiting.value = new Set()
  }

  return { text, waiting, bars, set, wait, clear }
}
