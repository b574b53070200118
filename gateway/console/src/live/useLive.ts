import { onBeforeUnmount, onMounted, shallowRef, watch, type Ref } from 'vue'
import type { Api } from '@/api/api'
import type { Point, ProfileName } from '@/api/types'
import type { Purpose } from './purpose'
import { Screen } from './screen'
import { FORBIDDEN, LiveSession, newView, type LiveView } from './session'
import type { Abilities } from './ways'

export interface LiveSetting {
  point: () => Point
  profile: Ref<ProfileName>
  /** Where the picture goes. */
  host: Ref<HTMLElement | null>
  /** While false, nothing streams. */
  active: Ref<boolean>
  audible: Ref<boolean>
  purpose: Purpose
  abilities: () => Promise<Abilities>
}

/**
 * A live view of a point in the element given; it ends with the component. Another profile is
 * opened beside the one that plays, which goes on until the new one shows its first picture.
 */
export function useLive(api: Api, setting: LiveSetting) {
  const view = shallowRef<LiveView>(newView())
  let screen: Screen | null = null
  let current: LiveSession | null = null
  let coming: LiveSession | null = null
  let orders = 0

  async function open(): Promise<void> {
    const mine = ++orders
    const abilities = await setting.abilities()
    if (mine !== orders || !setting.host.value || !setting.active.value) return
    screen ??= new Screen(setting.host.value)
    const { profile, purpose } = setting
    const order = {
      point: setting.point(),
      profile: profile.value,
      purpose: purpose.text.value || null,
      abilities,
    }
    const session = new LiveSession(api, screen, order, {
      shown: () => adopt(session),
      ended: () => ended(session),
    })
    session.setAudible(setting.audible.value)
    coming?.close()
    coming = session
    if (view.value.phase !== 'live') adopt(session)
    session.start()
  }

  function adopt(session: LiveSession): void {
    if (session !== coming) return
    coming = null
    current?.close()
    current = session
    setting.purpose.wait(view, false)
    // What was seen last stays on the screen until there is something newer.
    const { width, height } = view.value
    if (!session.view.width) Object.assign(session.view, { width, height })
    view.value = session.view
  }

  function ended(session: LiveSession): void {
    if (session === coming) {
      if (FORBIDDEN.has(session.view.reason ?? '')) adopt(session)
      else {
        coming = null
        view.value.notice = 'switch_failed'
      }
    }
    if (session === current) setting.purpose.wait(view, session.view.needsPurpose)
  }

  function pause(): void {
    orders += 1
    coming?.close()
    current?.close()
    coming = current = null
    setting.purpose.wait(view, false)
    if (view.value.phase !== 'ended') {
      view.value = Object.assign(newView(), { ...view.value, phase: 'paused', reason: null })
    }
  }

  onMounted(() => {
    if (setting.active.value) void open()
  })
  watch(setting.profile, () => {
    if (setting.active.value) void open()
  })
  watch(setting.active, (now) => {
    if (!now) pause()
    else if (view.value.phase !== 'ended' || view.value.needsPurpose) void open()
  })
  watch(setting.purpose.text, (text) => {
    if (text && view.value.needsPurpose && setting.active.value) void open()
  })
  watch(setting.audible, (on) => {
    current?.setAudible(on)
    coming?.setAudible(on)
  })
  onBeforeUnmount(pause)
  return { view, open }
}
