import { useConsole } from '@/app'
import type { BusEvent } from '@/api/types'
import type { Group } from './describe'

/** The name of what an event is about: a channel, patch, system or point; else its id. */
export function useSubject() {
  const { radio, pointNames } = useConsole()

  return (event: BusEvent, group: Group): string => {
    const id = event.subject
    if (!id) return ''
    if (group === 'camera') return pointNames.nameOf(id) ?? '…'
    const known = radio.channels.get(id) ?? radio.patches.get(id) ?? radio.systems.get(id)
    return known?.name ?? id
  }
}
