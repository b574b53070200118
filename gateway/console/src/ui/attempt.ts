import { ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { reasonOf } from '@/api/problem'

/** Work that may be refused: `problem` says why, until the next attempt. */
export function useAttempt() {
  const { t } = useI18n()
  const busy = ref(false)
  const problem = ref('')

  /** False where it did not come to its end. */
  async function attempt(work: () => Promise<unknown>): Promise<boolean> {
    busy.value = true
    problem.value = ''
    try {
      await work()
      return true
    } catch (error) {
      problem.value = reasonOf(error) || t('problem.unreachable')
      return false
    } finally {
      busy.value = false
    }
  }

  return { busy, problem, attempt }
}
