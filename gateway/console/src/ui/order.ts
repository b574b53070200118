import { nextTick, type Ref } from 'vue'

/** The same items with the one at `index` moved by `step` places, where there is such a place. */
export function moved<T>(items: readonly T[], index: number, step: number): T[] {
  const next = [...items]
  const [item] = next.slice(index, index + 1)
  const to = index + step
  if (item === undefined || to < 0 || to >= items.length) return next
  next.splice(index, 1)
  next.splice(to, 0, item)
  return next
}

/**
 * Puts the focus on a button of a row that was moved, or that came to stand where one was taken
 * out, so that the keyboard stays where the work is. list: its children are the rows.
 */
export async function focusRow(
  list: Ref<HTMLElement | null>,
  index: number,
  act: 'up' | 'down' | 'remove',
): Promise<void> {
  await nextTick()
  const rows = list.value?.children
  const row = rows?.[Math.min(index, rows.length - 1)]
  const wanted = row?.querySelector<HTMLButtonElement>(`[data-act=${act}]`)
  const able = wanted?.disabled ? row?.querySelector<HTMLElement>('[data-act]:not(:disabled)') : wanted
  able?.focus()
}
