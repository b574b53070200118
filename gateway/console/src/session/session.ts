import { computed, ref } from 'vue'
import type { Api } from '@/api/api'
import type { Me, Role } from '@/api/types'

const HINT = 'hutong.signed-in'

export type Session = ReturnType<typeof createSession>

/** Who is signed in. The credential itself is a cookie that scripts cannot read. */
export function createSession(api: Api) {
  const me = ref<Me | null>(null)
  const expired = ref(false)
  const endings = new Set<() => void>()
  let timer: ReturnType<typeof setTimeout> | undefined

  async function signIn(name: string, password: string): Promise<void> {
    const { expires_in } = await api.signIn(name, password)
    me.value = await api.me()
    expired.value = false
    localStorage.setItem(HINT, '1')
    keepFresh(expires_in)
  }

  /** Takes up the session of an earlier page, if there is one. */
  async function resume(): Promise<void> {
    if (me.value || !localStorage.getItem(HINT)) return
    me.value = await api.me()
    void refresh()
  }

  async function refresh(): Promise<void> {
    const answer = await api.refreshSession().catch(() => null)
    keepFresh(answer?.expires_in)
  }

  function keepFresh(expiresInS: number | undefined): void {
    clearTimeout(timer)
    if (!expiresInS || !me.value) return
    // setTimeout holds 31 bits of milliseconds.
    timer = setTimeout(() => void refresh(), Math.min(expiresInS * 700, 2 ** 31 - 1))
  }

  async function signOut(): Promise<void> {
    await api.signOut().catch(() => undefined)
    end()
  }

  /** The gateway said 401: the session is over. */
  function lost(): void {
    if (me.value) expired.value = true
    end()
  }

  function end(): void {
    clearTimeout(timer)
    localStorage.removeItem(HINT)
    me.value = null
    endings.forEach((listener) => listener())
  }

  /** True where a role was given at this organisation or above it. */
  function can(role: Role, path: string): boolean {
    return (me.value?.roles ?? []).some(
      (given) =>
        (given.role === role || (given.role === 'admin' && role !== 'clear_view')) &&
        covers(given.organization.path, path),
    )
  }

  const roles = computed(() => new Set(me.value?.roles.map(({ role }) => role) ?? []))

  function onEnd(listener: () => void): void {
    endings.add(listener)
  }

  return { me, roles, expired, signIn, resume, signOut, lost, can, onEnd }
}

/** True when the organisation at `path` is the one at `above`, or below it. */
export function covers(above: string, path: string): boolean {
  return path === above || path.startsWith(`${above}/`)
}
