import { computed, reactive, ref } from 'vue'
import type { Api } from '@/api/api'
import type { EventStream } from '@/api/stream'
import type { Channel, ChannelState, Patch, PatchState, System } from '@/api/types'

export type Radio = ReturnType<typeof createRadio>

/** Systems, channels and patches with their present floor. */
export function createRadio(api: Api, stream: EventStream) {
  const systems = reactive(new Map<string, System>())
  const channels = reactive(new Map<string, Channel>())
  const patches = reactive(new Map<string, Patch>())
  const loaded = ref(false)
  let sessions = 0
  // Counts what this console changed: a list that was asked for before does not have it yet.
  let edits = 0
  let asking: Promise<void> | null = null
  // States that come while a list of patches is on its way.
  let newer: Map<string, PatchState | null> | null = null
  // States that arrive while the lists are on their way are newer than those in the lists.
  let fresher: { channels: Map<string, ChannelState>; patches: Map<string, PatchState | null> } | null =
    null

  async function load(): Promise<void> {
    const mine = (fresher = { channels: new Map(), patches: new Map() })
    const [allSystems, allChannels, allPatches] = await Promise.all([
      // Whoever may not see the systems still sees their channels.
      api.systems().catch(() => []),
      api.channels(),
      api.patches(),
    ])
    if (fresher !== mine) return
    replace(systems, allSystems)
    replace(channels, allChannels)
    replace(patches, allPatches)
    mine.channels.forEach((state, id) => setChannel(id, state))
    mine.patches.forEach((state, id) => setPatch(id, state))
    fresher = null
    loaded.value = true
  }

  /** The event stream does not carry states of systems: whoever shows them asks again. */
  async function askSystems(): Promise<void> {
    const mine = sessions
    const found = await api.systems().catch(() => null)
    if (mine !== sessions) return
    // What cannot be asked is not known: an old state must not pass for the present one.
    replace(systems, found ?? [...systems.values()].map((system) => ({ ...system, state: null })))
  }

  /** Nor does it carry what somebody else makes, changes or removes. */
  function askPatches(): Promise<void> {
    asking ??= renewPatches().finally(() => (asking = null))
    return asking
  }

  async function renewPatches(): Promise<void> {
    const mine = { sessions, edits }
    const states = (newer = new Map<string, PatchState | null>())
    const found = await api.patches().catch(() => null)
    newer = null
    if (!found || mine.sessions !== sessions || mine.edits !== edits) return
    replace(patches, found)
    states.forEach((state, id) => setPatch(id, state))
  }

  /** A patch as the gateway answered it to a change of ours. */
  function put(patch: Patch): void {
    edits += 1
    patches.set(patch.id, patch)
  }

  function drop(id: string): void {
    edits += 1
    patches.delete(id)
  }

  function setChannel(id: string, state: ChannelState): void {
    fresher?.channels.set(id, state)
    const channel = channels.get(id)
    if (channel) channels.set(id, { ...channel, state })
  }

  function setPatch(id: string, state: PatchState | null): void {
    fresher?.patches.set(id, state)
    newer?.set(id, state)
    const patch = patches.get(id)
    if (patch) patches.set(id, { ...patch, state })
  }

  function clear(): void {
    fresher = null
    sessions += 1
    for (const map of [systems, channels, patches]) map.clear()
    loaded.value = false
  }

  stream.on('channel', (data) => {
    const { id, state } = data as { id: string; state: ChannelState }
    setChannel(id, state)
  })
  stream.on('patch', (data) => {
    const { id, state } = data as { id: string; state: PatchState | null }
    setPatch(id, state)
    if (loaded.value && state && !patches.has(id)) void askPatches()
  })
  stream.whenOpened(() => void load().catch(() => undefined))

  const emergencies = computed(() => [...channels.values()].filter(({ state }) => state?.emergency))
  const lists = { systems, channels, patches, loaded, emergencies }
  return { ...lists, load, askSystems, askPatches, put, drop, clear }
}

function replace<T extends { id: string }>(map: Map<string, T>, items: readonly T[]): void {
  map.clear()
  for (const item of items) map.set(item.id, item)
}
