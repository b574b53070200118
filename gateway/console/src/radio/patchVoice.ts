import type { Channel, PatchMember, System } from '@/api/types'
import { systemOf } from './groups'

/** Whether voice passes between a member and the others; unknown: of a system that we do not know. */
export type VoiceReach = 'all' | 'some' | 'none' | 'unknown'

/**
 * The codec that a kind of system passes, null for events alone, as in SUPPORTED.md. Kinds that are not here come from
 * elsewhere, and only the gateway knows what they pass.
 */
export const CODEC: Readonly<Record<string, string | null>> = {
  homebrew: 'ambe+2',
  mmdvm: null,
  trunk_recorder: null,
  zello: null,
}

export function codecOf(
  channel: Channel | undefined,
  systems: ReadonlyMap<string, System>,
): string | null | undefined {
  const adapter = channel && systems.get(systemOf(channel))?.adapter
  return adapter === undefined ? undefined : CODEC[adapter]
}

/**
 * For each member of a patch of `frames`, as the gateway will decide it: voice passes from one to
 * another who share a codec, where the one may talk and the other may be keyed.
 * codecs: of the members, in their order; undefined where nobody knows.
 */
export function voiceBetween(
  members: readonly PatchMember[],
  codecs: readonly (string | null | undefined)[],
): VoiceReach[] {
  return members.map((one, at) => {
    const found = members.flatMap((other, to) => {
      const joined = to !== at && (hears(one, other) || hears(other, one))
      return joined ? [passes(codecs[at], codecs[to])] : []
    })
    if (found.every((each) => each === false)) return 'none'
    if (found.some((each) => each === undefined)) return 'unknown'
    return found.every((each) => each === true) ? 'all' : 'some'
  })
}

/** Of all members together. */
export function reachOf(each: readonly VoiceReach[]): VoiceReach {
  if (each.includes('unknown')) return 'unknown'
  if (each.every((reach) => reach === 'all')) return 'all'
  return each.every((reach) => reach === 'none') ? 'none' : 'some'
}

const hears = (talker: PatchMember, hearer: PatchMember) =>
  talker.direction !== 'listen' && hearer.direction !== 'talk'

function passes(one: string | null | undefined, other: string | null | undefined): boolean | undefined {
  if (one === null || other === null) return false
  return one === undefined || other === undefined ? undefined : one === other
}
