import type { Channel, Patch } from '@/api/types'

/** A channel that could join, with all that it is found by. */
export interface Candidate {
  channel: Channel
  system: string
  organization: string
  /** May this user speak for it? */
  able: boolean
  /** The patch that may key it already, '' for none. */
  taken: string
}

const plain = (text: string) => text.normalize('NFKC').toLowerCase()

/** Those that have every word of `q` in their name, address, system or organisation. */
export function matching(candidates: readonly Candidate[], q: string): Candidate[] {
  const words = plain(q).split(/\s+/).filter(Boolean)
  return candidates.filter(({ channel, system, organization }) => {
    const text = plain([channel.name, channel.address, system, organization].join(' '))
    return words.every((word) => text.includes(word))
  })
}

/** The name of the patch by which a channel is keyed now, '' for none. but: id of one left out. */
export function patchOf(channel: string, patches: Iterable<Patch>, but: string | null): string {
  for (const patch of patches) {
    const member = patch.members.find((each) => each.channel === channel)
    const keys = member !== undefined && member.direction !== 'talk'
    if (keys && patch.enabled && patch.id !== but && !isOver(patch)) return patch.name
  }
  return ''
}

const isOver = ({ until }: Patch) => until !== null && Date.parse(until) <= Date.now()
