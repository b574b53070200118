import { markRaw, reactive } from 'vue'
import type { Api } from '@/api/api'
import { pause } from '@/api/pause'
import { Problem } from '@/api/problem'
import type { LiveTicket, Point, ProfileName } from '@/api/types'
import { Fmp4Player } from './fmp4Player'
import { parseMessage } from './frames'
import { FramesPlayer } from './framesPlayer'
import type { Player, PlayerEvents } from './player'
import { afterClose, afterProblem, backoffMs, type Outcome } from './outcome'
import type { Layer, Screen } from './screen'
import { WhepPlayer, type WhepEvents } from './whepPlayer'
import {
  familyOf,
  plays,
  waysOf,
  whepOf,
  type Abilities,
  type Transport,
  type Way,
  type Whep,
} from './ways'

export type Phase = 'opening' | 'live' | 'reconnecting' | 'ended' | 'paused'

/**
 * What a tile shows of its stream. reason: a code of `live.reason.*`, or the gateway's text.
 * notice: a code of `live.notice.*`; said: what the gateway says of a stream that lives.
 * unserved: why the media server does not hand this stream out, in the gateway's words.
 */
export interface LiveView {
  phase: Phase
  reason: string | null
  detail: string | null
  notice: string | null
  said: string | null
  unserved: string | null
  transport: Transport | 'whep' | null
  profile: string
  width: number
  height: number
  sound: boolean
  needsPurpose: boolean
  /** Not watched: it changes with every picture. at: by `performance.now`. */
  seen: { pictures: number; at: number }
}

export interface LiveOrder {
  point: Point
  profile: ProfileName
  purpose: string | null
  abilities: Abilities
}

export interface LiveHooks {
  /** The first picture of this session is on the screen. */
  shown(): void
  /** It is over, and trying again would not help. */
  ended(): void
}

const SILENCE_MS = 15_000
/** So long a media server that failed is not tried again. */
const WITHOUT_WHEP_MS = 60_000
/** Ends after which not even the last picture may stay. */
export const FORBIDDEN = new Set(['right_lost', 'forbidden', 'not_found', 'signed_out', 'purpose'])

export function newView(): LiveView {
  return reactive<LiveView>({
    phase: 'opening',
    reason: null,
    detail: null,
    notice: null,
    said: null,
    unserved: null,
    transport: null,
    profile: '',
    width: 0,
    height: 0,
    sound: false,
    needsPurpose: false,
    seen: markRaw({ pictures: 0, at: 0 }),
  })
}

/** What to call the state of a view: a code of `live.phases.*`. */
export function phaseOf({ phase, needsPurpose }: LiveView): Phase | 'purpose' {
  return needsPurpose ? 'purpose' : phase
}

/** One live view of one point: asks for tickets, plays, and tries again until it cannot help. */
export class LiveSession {
  readonly view = newView()
  private readonly stop = new AbortController()
  private readonly unusable = new Set<string>()
  private player: Pick<Player, 'setAudible'> | null = null
  private whepFailedMs = -Infinity
  private audible = false
  private upstreamLost = false

  constructor(
    private readonly api: Api,
    private readonly screen: Screen,
    private readonly order: LiveOrder,
    private readonly hooks: LiveHooks,
    private readonly chance: () => number = Math.random,
  ) {}

  start(): void {
    void this.run()
  }

  close(): void {
    this.stop.abort()
  }

  setAudible(on: boolean): void {
    this.audible = on
    this.player?.setAudible(on)
  }

  private async run(): Promise<void> {
    let attempt = 0
    while (!this.stop.signal.aborted) {
      const before = this.view.seen.pictures
      const outcome = await this.once()
      if (this.stop.signal.aborted) return
      if (this.view.seen.pictures > before) attempt = 0
      this.tell(outcome)
      if (outcome.kind === 'ended') return this.hooks.ended()
      if (outcome.kind === 'next') continue
      await pause(Math.max(backoffMs(attempt++, this.chance()), outcome.waitMs), this.stop.signal)
    }
  }

  private tell(outcome: Outcome): void {
    const { view } = this
    if (outcome.kind === 'ended' && FORBIDDEN.has(outcome.reason)) {
      this.screen.blank()
      Object.assign(view, { width: 0, height: 0 })
    }
    view.needsPurpose = outcome.kind === 'ended' && outcome.reason === 'purpose'
    view.phase = outcome.kind === 'ended' ? 'ended' : 'reconnecting'
    view.reason = outcome.kind === 'next' ? 'next_way' : outcome.reason
    view.detail = outcome.kind === 'next' ? null : outcome.detail
  }

  private async once(): Promise<Outcome> {
    const { point, profile, purpose, abilities } = this.order
    const ways = waysOf(point.profiles, profile, abilities)
    const way = ways.find((each) => !this.unusable.has(nameOf(each)))
    if (!way) return { kind: 'ended', reason: 'codec', detail: null }
    let ticket: LiveTicket
    try {
      ticket = await this.api.live(point.id, way.profile, purpose, this.stop.signal)
    } catch (error) {
      return afterProblem(error instanceof Problem ? error : new Problem(0, ''))
    }
    if (this.stop.signal.aborted) return { kind: 'next' }
    this.view.unserved = (!ticket.media_server?.token && ticket.media_server?.reason) || null
    const whep = whepOf(ticket, abilities)
    const without = performance.now() - this.whepFailedMs < WITHOUT_WHEP_MS
    if (whep && !without) {
      const notice = way.notice === 'jpeg' ? null : way.notice
      Object.assign(this.view, { transport: 'whep', notice, said: null, profile: ticket.profile })
      return this.receive(whep)
    }
    const address = way.transport === 'fmp4' ? ticket.urls.fmp4 : ticket.urls.frames
    // The ticket may know better than the list which codec it is.
    const known = familyOf(ticket.codec)
    if (!address || (known && !plays(abilities, way.transport, known))) return this.give(way)
    const { transport } = way
    const notice = way.notice ?? (whep ? 'media_server' : null)
    Object.assign(this.view, { transport, notice, profile: ticket.profile })
    return this.play(way, socketUrl(address, way.transport))
  }

  private give(way: Way): Outcome {
    this.unusable.add(nameOf(way))
    return { kind: 'next' }
  }

  /** Plays a media server's stream. Where that fails, the gateway's own ways are next. */
  private receive(whep: Whep): Promise<Outcome> {
    return new Promise((resolve) => {
      this.upstreamLost = false
      const layer = this.screen.add('video') as HTMLVideoElement
      const finish = (outcome: Outcome) => {
        this.stop.signal.removeEventListener('abort', aborted)
        this.screen.retire(layer)
        player.close()
        this.player = null
        resolve(outcome)
      }
      const aborted = () => finish({ kind: 'next' })
      const failed = () => {
        this.whepFailedMs = performance.now()
        finish({ kind: 'next' })
      }
      const lost = (reason: string) => finish({ kind: 'retry', reason, detail: null, waitMs: 0 })
      const events: WhepEvents = { ...this.eventsOf(layer, failed), lost }
      const player = new WhepPlayer(layer, whep.url, whep.token, events)
      this.player = player
      player.setAudible(this.audible)
      this.stop.signal.addEventListener('abort', aborted)
    })
  }

  private play(way: Way, url: string): Promise<Outcome> {
    return new Promise((resolve) => {
      const socket = new WebSocket(url)
      socket.binaryType = 'arraybuffer'
      let ended: string | null = null
      this.upstreamLost = false
      const layer = this.screen.add(way.transport === 'fmp4' ? 'video' : 'canvas')
      const finish = (outcome: Outcome) => {
        clearTimeout(timer)
        this.stop.signal.removeEventListener('abort', aborted)
        socket.onmessage = socket.onclose = null
        socket.close()
        this.screen.retire(layer)
        player.close()
        this.player = null
        resolve(outcome)
      }
      const aborted = () => finish({ kind: 'next' })
      const silent = () => finish({ kind: 'retry', reason: 'silent', detail: null, waitMs: 0 })
      let timer = setTimeout(silent, SILENCE_MS)
      const player = this.playerOn(layer, () => finish(this.give(way)))
      this.player = player
      player.setAudible(this.audible)
      this.stop.signal.addEventListener('abort', aborted)
      socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
        clearTimeout(timer)
        timer = setTimeout(silent, SILENCE_MS)
        if (typeof data !== 'string') return player.binary(data)
        ended = this.state(data) ?? ended
        player.text(data)
      }
      socket.onclose = ({ code, reason }) => finish(afterClose(code, reason, ended))
    })
  }

  private playerOn(layer: Layer, unsupported: () => void): Player {
    const events = this.eventsOf(layer, unsupported)
    return layer instanceof HTMLVideoElement
      ? new Fmp4Player(layer, events)
      : new FramesPlayer(layer, events)
  }

  private eventsOf(layer: Layer, unsupported: () => void): PlayerEvents {
    return {
      picture: (width, height) => {
        this.screen.reveal(layer)
        this.picture(width, height)
      },
      sound: () => (this.view.sound = true),
      unsupported,
    }
  }

  private picture(width: number, height: number): void {
    const { view } = this
    view.seen.pictures += 1
    view.seen.at = performance.now()
    if (view.width !== width) view.width = width
    if (view.height !== height) view.height = height
    if (view.seen.pictures === 1) this.hooks.shown()
    // A picture proves that the stream lives, whatever was said of the connection before it.
    if (view.phase !== 'live' && !this.upstreamLost) this.alive()
  }

  private alive(): void {
    Object.assign(this.view, { phase: 'live', reason: null, detail: null })
  }

  /** Shows a `state` message. The reason of an `ended` one is for when the socket closes. */
  private state(text: string): string | null {
    const message = parseMessage(text)
    if (message?.type !== 'state') return null
    if (message.state === 'ended') return message.reason ?? ''
    this.upstreamLost = message.state === 'reconnecting'
    if (message.state === 'live') {
      this.view.said = message.reason
      if (this.view.seen.pictures > 0) this.alive()
    } else {
      Object.assign(this.view, { phase: 'reconnecting', reason: message.reason, detail: null })
    }
    return null
  }
}

function nameOf({ transport, profile }: Way): string {
  return `${transport}/${profile}`
}

function socketUrl(address: string, transport: Transport): string {
  const url = new URL(address, location.href)
  url.protocol = url.protocol.replace(/^http/, 'ws')
  if (transport === 'jpeg') url.searchParams.set('codec', 'jpeg')
  return url.href
}
