import { ref } from 'vue'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { Me, Role } from '@/api/types'

/** When the session ends, in ms; its presence says that there is one worth asking for. */
const ENDS = 'hutong.session-ends'
/** The part of its life after which a session is renewed. */
const RENEW_AT = 0.7

const MAY: Record<Right, readonly Role[]> = {
  pictures: ['viewer', 'dispatcher', 'clear_view', 'admin'],
  dispatch: ['dispatcher', 'admin'],
  administer: ['admin'],
}
export type Right = 'pictures' | 'dispatch' | 'administer'

export type Session = ReturnType<typeof createSession>

/** Who is signed in. The credential itself is a cookie that scripts cannot read. */
export function createSession(api: Api) {
  const me = ref<Me | null>(null)
  const expired = ref(false)
  const endings = new Set<() => void>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let asking: Promise<boolean> | null = null

  async function signIn(name: string, password: string): Promise<void> {
    const { expires_in } = await api.signIn(name, password)
    me.value = await api.me()
    expired.value = false
    keepFresh(expires_in)
  }

  /** Takes up the session of an earlier page, if there is one. */
  async function resume(): Promise<void> {
    if (me.value || !localStorage.getItem(ENDS)) return
    me.value = await api.me()
    schedule()
  }

  /** Renews the session, unless another tab did so in the meantime. */
  async function renew(dueMs: number): Promise<void> {
    if (Number(localStorage.getItem(ENDS)) > dueMs) return schedule()
    const answer = await api.refreshSession().catch(() => null)
    if (answer) keepFresh(answer.expires_in)
  }

  function keepFresh(expiresInS = 3600): void {
    localStorage.setItem(ENDS, String(Date.now() + expiresInS * 1000))
    schedule()
  }

  function schedule(): void {
    clearTimeout(timer)
    const endsMs = Number(localStorage.getItem(ENDS))
    // setTimeout holds 31 bits of milliseconds.
    const waitMs = Math.min(Math.max((endsMs - Date.now()) * RENEW_AT, 0), 2 ** 31 - 1)
    timer = setTimeout(() => void renew(endsMs), waitMs)
  }

  /**
   * After a 401: false when the session is over. It may not be: a renewal replaces the cookie, and
   * a request that left with the old one is refused. One question serves all who ask at once.
   */
  function revive(): Promise<boolean> {
    asking ??= api
      .me()
      .then(
        () => true,
        (error: unknown) => {
          const over = error instanceof Problem && error.status === 401
          if (over) lost()
          return false
        },
      )
      .finally(() => (asking = null))
    return asking
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
    localStorage.removeItem(ENDS)
    me.value = null
    endings.forEach((listener) => listener())
  }

  /** True where a role that carries the right was given at this organisation or above it. */
  function may(right: Right, path: string): boolean {
    return (me.value?.roles ?? []).some(
      ({ role, organization }) =>
        MAY[right].includes(role) && covers(organization?.path ?? '', path),
    )
  }

  function onEnd(listener: () => void): void {
    endings.add(listener)
  }

  return { me, expired, signIn, resume, signOut, revive, may, onEnd }
}

/** True when the organisation at `path` is the one at `above`, or below it; "" is above all. */
export function covers(above: string, path: string): boolean {
  return above === '' || path === above || path.startsWith(`${above}/`)
}
