import { reactive } from 'vue'
import type { Api } from '@/api/api'
import { Problem } from '@/api/problem'
import type { LiveTicket, ProfileName } from '@/api/types'
import { Fmp4Player } from './fmp4Player'
import { parseMessage } from './frames'
import { FramesPlayer } from './framesPlayer'
import type { Player, PlayerEvents } from './player'
import { afterClose, afterProblem, type Outcome } from './outcome'

export type Phase = 'opening' | 'live' | 'reconnecting' | 'ended'
export type Transport = 'frames' | 'fmp4'

/** What a tile shows of its stream. `reason` is a code of `live.reason.*`, or the gateway's text. */
export interface LiveView {
  phase: Phase
  reason: string | null
  detail: string | null
  transport: Transport | null
  profile: string
  width: number
  height: number
  pictures: number
  pictureAt: number
  needsPurpose: boolean
}

export interface Sinks {
  canvas: HTMLCanvasElement
  video: HTMLVideoElement
}

const SILENCE_MS = 15_000
/** Ends after which not even the last picture may stay. */
const FORBIDDEN = new Set(['right_lost', 'forbidden', 'not_found', 'signed_out', 'purpose'])
const BACKOFF_MS = [500, 1000, 2000, 5000, 10_000, 15_000]

export function newView(): LiveView {
  return reactive<LiveView>({
    phase: 'opening',
    reason: null,
    detail: null,
    transport: null,
    profile: '',
    width: 0,
    height: 0,
    pictures: 0,
    pictureAt: 0,
    needsPurpose: false,
  })
}

/** One live view of one point: asks for tickets, plays, and tries again until it cannot help. */
export class LiveSession {
  private readonly stop = new AbortController()
  private readonly unusable = new Set<Transport>()

  constructor(
    private readonly api: Api,
    private readonly sinks: Sinks,
    readonly view: LiveView,
    private readonly pointId: string,
    private readonly profile: ProfileName,
    private readonly purpose: string | null,
  ) {}

  start(): void {
    void this.run()
  }

  close(): void {
    this.stop.abort()
  }

  private async run(): Promise<void> {
    let attempt = 0
    while (!this.stop.signal.aborted) {
      const before = this.view.pictures
      const outcome = await this.once()
      if (this.stop.signal.aborted) return
      if (this.view.pictures > before) attempt = 0
      this.tell(outcome)
      if (outcome.kind === 'ended') return
      const backoff = BACKOFF_MS[Math.min(attempt++, BACKOFF_MS.length - 1)] ?? 1000
      const wait = outcome.kind === 'next' ? 0 : Math.max(backoff, outcome.waitMs)
      await this.pause(wait)
    }
  }

  private tell(outcome: Outcome): void {
    const { view } = this
    if (outcome.kind === 'ended' && FORBIDDEN.has(outcome.reason)) this.blank()
    view.needsPurpose = outcome.kind === 'ended' && outcome.reason === 'purpose'
    view.phase = outcome.kind === 'ended' ? 'ended' : 'reconnecting'
    view.reason = outcome.kind === 'next' ? 'next_way' : outcome.reason
    view.detail = outcome.kind === 'next' ? null : outcome.detail
  }

  private blank(): void {
    const { canvas } = this.sinks
    canvas.getContext('2d')?.clearRect(0, 0, canvas.width, canvas.height)
    Object.assign(this.view, { width: 0, height: 0, pictures: 0 })
  }

  private async once(): Promise<Outcome> {
    const transport = this.choose()
    if (!transport) return { kind: 'ended', reason: 'codec', detail: null }
    let ticket: LiveTicket
    try {
      const { signal } = this.stop
      ticket = await this.api.live(this.pointId, this.profile, this.purpose, signal)
    } catch (error) {
      return afterProblem(error instanceof Problem ? error : new Problem(0, ''))
    }
    if (this.stop.signal.aborted) return { kind: 'next' }
    const address = ticket.urls[transport]
    if (!address) return this.give(transport)
    Object.assign(this.view, { transport, profile: ticket.profile })
    return this.play(transport, socketUrl(address))
  }

  private choose(): Transport | null {
    if (FramesPlayer.supported && !this.unusable.has('frames')) return 'frames'
    if (Fmp4Player.supported && !this.unusable.has('fmp4')) return 'fmp4'
    return null
  }

  private give(transport: Transport): Outcome {
    this.unusable.add(transport)
    return { kind: 'next' }
  }

  private play(transport: Transport, url: string): Promise<Outcome> {
    return new Promise((resolve) => {
      const socket = new WebSocket(url)
      socket.binaryType = 'arraybuffer'
      let ended: string | null = null
      const finish = (outcome: Outcome) => {
        clearTimeout(timer)
        this.stop.signal.removeEventListener('abort', aborted)
        socket.onmessage = socket.onclose = null
        socket.close()
        player.close()
        resolve(outcome)
      }
      const aborted = () => finish({ kind: 'next' })
      const silent = () => finish({ kind: 'retry', reason: 'silent', detail: null, waitMs: 0 })
      let timer = setTimeout(silent, SILENCE_MS)
      const player = this.player(transport, () => finish(this.give(transport)))
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

  private player(transport: Transport, unsupported: () => void): Player {
    const events: PlayerEvents = {
      picture: (width, height) => this.picture(width, height),
      unsupported,
    }
    return transport === 'frames'
      ? new FramesPlayer(this.sinks.canvas, events)
      : new Fmp4Player(this.sinks.video, events)
  }

  private picture(width: number, height: number): void {
    const { view } = this
    view.pictures += 1
    view.pictureAt = performance.now()
    view.width = width
    view.height = height
    // The first picture proves that the stream lives, whatever was said before it.
    if (view.phase === 'opening' || view.reason === 'next_way') this.alive()
  }

  private alive(): void {
    Object.assign(this.view, { phase: 'live', reason: null, detail: null })
  }

  /** Shows a `state` message. The reason of an `ended` one is for when the socket closes. */
  private state(text: string): string | null {
    const message = parseMessage(text)
    if (message?.type !== 'state') return null
    if (message.state === 'ended') return message.reason ?? ''
    if (message.state === 'live') {
      if (this.view.pictures > 0) this.alive()
    } else {
      Object.assign(this.view, { phase: 'reconnecting', reason: message.reason, detail: null })
    }
    return null
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      const done = () => (clearTimeout(timer), resolve())
      this.stop.signal.addEventListener('abort', done, { once: true })
    })
  }
}

function socketUrl(address: string): string {
  const url = new URL(address, location.href)
  url.protocol = url.protocol.replace(/^http/, 'ws')
  return url.href
}
