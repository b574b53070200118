import { onBeforeUnmount, watch, type Ref } from 'vue'
import type { Api } from '@/api/api'
import type { ProfileName } from '@/api/types'
import { LiveSession, newView, type LiveView } from './session'

export interface LiveSinks {
  canvas: Ref<HTMLCanvasElement | null>
  video: Ref<HTMLVideoElement | null>
}

/** A live view of a point in the two elements given; it ends with the component. */
export function useLive(api: Api, pointId: () => string, profile: Ref<ProfileName>, sinks: LiveSinks) {
  const view: LiveView = newView()
  let session: LiveSession | null = null

  function open(purpose: string | null = null): void {
    session?.close()
    const { canvas, video } = { canvas: sinks.canvas.value, video: sinks.video.value }
    if (!canvas || !video) return
    // The last picture stays on the canvas until the new stream gives one.
    Object.assign(view, { ...view, phase: 'opening', reason: null, detail: null, needsPurpose: false })
    session = new LiveSession(api, { canvas, video }, view, pointId(), profile.value, purpose)
    session.start()
  }

  watch(profile, () => open())
  onBeforeUnmount(() => session?.close())
  return { view, open }
}
