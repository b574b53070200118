import { computed, ref, shallowRef } from 'vue'
import type { Api } from '@/api/api'
import type { EventStream } from '@/api/stream'
import type { Organization } from '@/api/types'
import { buildTree } from './tree'

const RECOUNT_MS = 2000

export type Organizations = ReturnType<typeof createOrganizations>

/** The organisations that the user sees, with counts that follow the event stream. */
export function createOrganizations(api: Api, stream: EventStream) {
  const items = shallowRef<Organization[]>([])
  const loaded = ref(false)
  const tree = computed(() => buildTree(items.value))
  const byId = computed(() => new Map(items.value.map((item) => [item.id, item])))
  let timer: ReturnType<typeof setTimeout> | undefined

  async function load(): Promise<void> {
    items.value = await api.organizations()
    loaded.value = true
  }

  /** Many points change at once when a switch fails: one recount serves them all. */
  function recountSoon(): void {
    timer ??= setTimeout(() => {
      timer = undefined
      if (loaded.value) void load().catch(() => undefined)
    }, RECOUNT_MS)
  }

  function clear(): void {
    clearTimeout(timer)
    timer = undefined
    items.value = []
    loaded.value = false
  }

  stream.on('point', recountSoon)
  stream.whenOpened(recountSoon)
  return { items, loaded, tree, byId, load, clear }
}
