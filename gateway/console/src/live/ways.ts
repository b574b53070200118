import type { LiveTicket, Point, ProfileName } from '@/api/types'

/** How pictures reach the screen. `jpeg` is the frames WebSocket with pictures made by the gateway. */
export type Transport = 'frames' | 'fmp4' | 'jpeg'
export type Family = 'h264' | 'h265' | 'jpeg' | 'other'

/** What this browser decodes: by WebCodecs, by Media Source Extensions, and by WebRTC. */
export interface Abilities {
  webcodecs: ReadonlySet<Family>
  mse: ReadonlySet<Family>
  webrtc: ReadonlySet<Family>
}

/** One way to play a point. notice: a code of `live.notice.*` that says why it is not the usual. */
export interface Way {
  transport: Transport
  profile: ProfileName
  notice: 'sub_instead' | 'jpeg' | null
}

/** A stream of a media server. */
export interface Whep {
  url: string
  token: string
}

const CODECS: Record<'h264' | 'h265', string> = { h264: 'avc1.42e01e', h265: 'hvc1.1.6.L93.B0' }

/** The family of a codec as profiles, tickets or RFC 6381 name it. Null where it is not known. */
export function familyOf(codec: string | null | undefined): Family | null {
  const name = (codec ?? '').toLowerCase()
  if (!name) return null
  if (/^(h\.?264|avc)/.test(name)) return 'h264'
  if (/^(h\.?265|hevc|hvc1|hev1)/.test(name)) return 'h265'
  return /^m?jpe?g/.test(name) ? 'jpeg' : 'other'
}

/** Asks the browser. JPEG needs no decoder of its own. */
export async function detectAbilities(): Promise<Abilities> {
  const webcodecs = new Set<Family>(['jpeg'])
  const mse = new Set<Family>()
  for (const family of ['h264', 'h265'] as const) {
    const codec = CODECS[family]
    if (typeof VideoDecoder === 'function') {
      const answer = await VideoDecoder.isConfigSupported({ codec }).catch(() => null)
      if (answer?.supported) webcodecs.add(family)
    }
    const mime = `video/mp4; codecs="${codec}"`
    if (typeof MediaSource === 'function' && MediaSource.isTypeSupported(mime)) mse.add(family)
  }
  return { webcodecs, mse, webrtc: receivable() }
}

function receivable(): ReadonlySet<Family> {
  const found = new Set<Family>()
  if (typeof RTCPeerConnection !== 'function' || typeof RTCRtpReceiver !== 'function') return found
  for (const { mimeType } of RTCRtpReceiver.getCapabilities('video')?.codecs ?? []) {
    if (/^video\/h26[45]$/i.test(mimeType)) found.add(/4$/.test(mimeType) ? 'h264' : 'h265')
  }
  return found
}

/** Where a media server plays this ticket by WHEP, and what it wants to see; null where none does. */
export function whepOf(ticket: LiveTicket, abilities: Abilities): Whep | null {
  const { token } = ticket.media_server ?? {}
  const family = familyOf(ticket.codec)
  const can = family === null ? abilities.webrtc.size > 0 : abilities.webrtc.has(family)
  return token && ticket.urls.whep && can ? { url: ticket.urls.whep, token } : null
}

/** Whether the browser plays the family by this transport; one that is not known may be tried. */
export function plays(abilities: Abilities, transport: Transport, family: Family | null): boolean {
  if (transport === 'jpeg') return true
  if (transport === 'fmp4') return family === null ? abilities.mse.size > 0 : abilities.mse.has(family)
  return family === null ? abilities.webcodecs.has('h264') : abilities.webcodecs.has(family)
}

/** All ways to play a point, best first: as wanted, else its sub-stream, else JPEG. */
export function waysOf(
  profiles: Point['profiles'],
  wanted: ProfileName,
  abilities: Abilities,
): Way[] {
  const named = (name: ProfileName) => profiles.find((profile) => profile.name === name)
  const codecOf = (name: ProfileName) => familyOf((named(name) ?? named('main'))?.codec)
  const hasSub = named('sub') !== undefined
  const choices: ProfileName[] = wanted === 'main' && hasSub ? ['main', 'sub'] : [wanted]
  const direct = choices.flatMap((profile) =>
    (['frames', 'fmp4'] as const)
      .filter((transport) => plays(abilities, transport, codecOf(profile)))
      .map((transport): Way => {
        const notice = profile === wanted ? null : 'sub_instead'
        return { transport, profile, notice }
      }),
  )
  const last: Way = { transport: 'jpeg', profile: hasSub ? 'sub' : wanted, notice: 'jpeg' }
  return [...direct, last]
}
