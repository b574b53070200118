import { useI18n } from 'vue-i18n'
import type { Schedule } from '@/api/types'

/** Says a schedule in words: hours, days where not all, time zone. */
export function useScheduleWords() {
  const { t } = useI18n()
  return ({ from, to, days, timezone }: Schedule): string => {
    const some = days && days.length < 7 ? days : []
    return [`${from}–${to}`, ...some.map((day) => t(`radio.patch.days.${day}`)), timezone].join(' ')
  }
}
