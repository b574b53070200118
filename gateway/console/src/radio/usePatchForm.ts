import { computed, nextTick, ref, watch } from 'vue'
import { useI18n } from 'vue-i18n'
import { useConsole } from '@/app'
import { Problem, reasonOf } from '@/api/problem'
import type { Patch } from '@/api/types'
import * as drafts from './patchDraft'
import { isShown, locatedOf } from './patchErrors'

/** What the form around it does. settle: puts a question away. */
interface Around {
  saved: (patch: Patch) => void
  close: () => void
  find: (selector: string) => HTMLElement | null | undefined
  settle: () => void
}

/** A patch that is made (null, begun as `start`) or changed, and what the gateway says to it. */
export function usePatchForm(
  { patch, start }: { patch: Patch | null; start: drafts.PatchDraft },
  around: Around,
) {
  const { t } = useI18n()
  const { api, radio } = useConsole()
  /** The patch as it was read last; what is sent is what differs from it. */
  const base = ref(patch)
  const draft = ref(drafts.draftOr(patch, start))
  const before = computed(() => drafts.draftOr(base.value, start))
  const news = ref<drafts.News[]>([])
  const gone = ref(false)
  const busy = ref(false)
  const tried = ref(false)
  const refused = ref<unknown>(null)

  const dirty = computed(() => Object.keys(drafts.changesOf(before.value, draft.value)).length > 0)
  const savable = computed(() => !busy.value && !gone.value && (dirty.value || !base.value))

  /** Two patches that want one channel: said in our own words where the other one is known. */
  const conflict = computed(() => {
    const error = refused.value
    if (!(error instanceof Problem) || error.status !== 409) return ''
    const name = error.other ? radio.patches.get(error.other)?.name : undefined
    return name ? t('radio.patch.conflict', { name }) : (error.detail ?? error.title)
  })

  const errors = computed(() => {
    const found = new Map(locatedOf(refused.value))
    if (conflict.value) found.set('members', conflict.value)
    if (!tried.value) return found
    for (const [field, { key, ...limits }] of drafts.faultsOf(draft.value)) {
      found.set(field, t(`radio.patch.wrong.${key}`, limits))
    }
    return found
  })

  /** What cannot be said beside a field. */
  const problem = computed(() => {
    if (gone.value) return t('radio.patch.gone')
    if (errors.value.size) {
      const lost = [...errors.value].filter(([place]) => !isShown(place))
      const said = lost.map(([place, reason]) => `${place}: ${reason}`).join('; ')
      return said || t('radio.patch.seeFields')
    }
    if (refused.value === null) return ''
    return reasonOf(refused.value) || t('problem.unreachable')
  })

  // What was refused of a row may be another row's then.
  watch(
    () => draft.value.members.map(({ channel }) => channel).join(),
    () => (refused.value = null),
  )

  async function save() {
    if (!savable.value) return
    tried.value = true
    refused.value = null
    if (drafts.faultsOf(draft.value).size) return showFirst()
    await ask(async () => {
      const now = base.value
      const patch = now
        ? await api.updatePatch(now.id, now.version, drafts.changesOf(before.value, draft.value))
        : await api.createPatch(drafts.bodyOf(draft.value))
      radio.put(patch)
      around.saved(patch)
      around.close()
    })
  }

  async function remove() {
    const now = base.value
    if (!now) return
    await ask(async () => {
      await api.deletePatch(now.id, now.version)
      radio.drop(now.id)
      around.close()
    })
  }

  async function ask(work: () => Promise<void>) {
    busy.value = true
    refused.value = null
    news.value = []
    try {
      await work()
    } catch (error) {
      await refusedWith(error)
    } finally {
      busy.value = false
    }
  }

  async function refusedWith(error: unknown) {
    around.settle()
    const status = error instanceof Problem ? error.status : 0
    if (base.value && (status === 412 || status === 404)) return reread(base.value.id, error)
    refused.value = error
    await showFirst()
  }

  /** Somebody else was here: their patch, with what was typed on top of it. */
  async function reread(id: string, error: unknown) {
    try {
      const now = await api.patch(id)
      const merged = drafts.rebased(before.value, draft.value, drafts.draftOf(now))
      base.value = now
      draft.value = merged.draft
      news.value = merged.news
      radio.put(now)
      await nextTick()
      // Where nothing changed that stands in the form, the gateway's own words must do.
      if (!merged.news.length) refused.value = error
      around.find('[data-test=patch-news]')?.focus()
    } catch (reason) {
      gone.value = reason instanceof Problem && reason.status === 404
      if (gone.value) radio.drop(id)
      else refused.value = reason
    }
  }

  async function showFirst() {
    await nextTick()
    around.find('[aria-invalid=true]')?.focus()
  }

  const fields = { base, draft, before, news, busy, errors, problem }
  return { ...fields, dirty, savable, save, remove }
}
