import { computed } from 'vue'
import { useI18n } from 'vue-i18n'
import { useConsole } from '@/app'
import type { Channel, OrganizationRef, Patch, PatchMember } from '@/api/types'
import { wholeTime } from '@/ui/time'
import { patchOf, type Candidate } from './candidates'
import { isRef, systemOf } from './groups'
import type { DraftField, PatchDraft } from './patchDraft'
import { useScheduleWords } from './useScheduleWords'

type Owner = Pick<OrganizationRef, 'name' | 'path'>

/** What the parts of a patch are called, and what this user may do with them. */
export function usePatchNames() {
  const { t, locale } = useI18n()
  const { radio, organizations, session } = useConsole()
  const scheduleSaid = useScheduleWords()

  function ownerOf({ organization }: Channel): Owner | undefined {
    return isRef(organization) ? organization : organizations.byId.value.get(organization)
  }

  function mayDispatch(channel: Channel): boolean {
    const path = ownerOf(channel)?.path
    return path !== undefined && session.may('dispatch', path)
  }

  const mayPatch = (patch: Patch): boolean => session.may('dispatch', patch.organization.path)

  /** Paths of the organisations in which this user may make a patch. */
  const places = computed(() =>
    organizations.items.value
      .filter(({ path }) => session.may('dispatch', path))
      .sort((a, b) => a.path.localeCompare(b.path, 'en', { numeric: true })),
  )

  const channelName = (id: string): string => radio.channels.get(id)?.name ?? t('radio.hidden')

  /** The patch that keys a channel, '' for none. but: id of one that is not counted. */
  const takenBy = (channel: string, but: string | null): string =>
    patchOf(channel, radio.patches.values(), but)

  /** Every channel that the user sees, in the order of the page. but: patch that is not counted. */
  function candidates(but: string | null): Candidate[] {
    const compare = new Intl.Collator(locale.value, { numeric: true }).compare
    const found = [...radio.channels.values()].map((channel) => ({
      channel,
      system: systemName(channel),
      organization: ownerOf(channel)?.name ?? '',
      able: mayDispatch(channel),
      taken: takenBy(channel.id, but),
    }))
    return found.sort(
      (a, b) => compare(a.system, b.system) || compare(a.channel.address, b.channel.address),
    )
  }

  function systemName(channel: Channel): string {
    const { system } = channel
    const own = typeof system === 'string' ? '' : system.name
    return radio.systems.get(systemOf(channel))?.name ?? own
  }

  const about = (channel: Channel): string =>
    [channel.address, systemName(channel), t(`radio.kinds.${channel.kind}`)].filter(Boolean).join(' · ')

  /** The value of a field in words. */
  function said(field: DraftField, draft: PatchDraft): string {
    const listed = ({ allow, deny }: { allow: string[]; deny: string[] }) =>
      t('radio.patch.listed', { allow: allow.length, deny: deny.length })
    switch (field) {
      case 'members':
        return draft.members.map(memberSaid).join(', ') || '–'
      case 'voice':
        return t(`radio.patch.voices.${draft.voice}`)
      case 'until':
        return wholeTime(draft.until, locale.value) || '–'
      case 'schedule':
        return draft.schedule ? scheduleSaid(draft.schedule) : '–'
      case 'units':
      case 'calls':
        return listed(draft[field])
      case 'enabled':
      case 'queue':
      case 'encrypted':
        return t(draft[field] ? 'radio.patch.yes' : 'radio.patch.no')
      case 'organization':
        return places.value.find(({ path }) => path === draft.organization)?.name ?? draft.organization
      default:
        return String(draft[field])
    }
  }

  function memberSaid({ channel, direction, priority, muted }: PatchMember): string {
    const more = [
      direction === 'both' ? '' : t(`radio.direction.${direction}`),
      priority ? `${t('radio.patch.priority')} ${priority}` : '',
      muted ? t('radio.patch.muted') : '',
    ].filter(Boolean)
    return channelName(channel) + (more.length ? ` (${more.join(', ')})` : '')
  }

  const names = { channelName, about, said, takenBy }
  return { ...names, ownerOf, mayDispatch, mayPatch, places, candidates }
}

export type PatchNames = ReturnType<typeof usePatchNames>
