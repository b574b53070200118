import { parseMessage } from './frames'
import { LiveEdge } from './liveEdge'
import type { Player, PlayerEvents } from './player'

const KEEP_S = 10
const MOST_WAITING = 200

/** fMP4 fragments → Media Source Extensions → video element, kept near the live edge. */
export class Fmp4Player implements Player {
  private source: MediaSource | null = null
  private buffer: SourceBuffer | null = null
  private url = ''
  private waiting: ArrayBuffer[] = []
  private mime = ''
  private edge = new LiveEdge()
  private endS = -1
  private closed = false

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly events: PlayerEvents,
  ) {
    video.muted = true
    video.ontimeupdate = () => {
      if (video.videoWidth) events.picture(video.videoWidth, video.videoHeight)
    }
    video.onwaiting = () => {
      const aheadS = this.endS - video.currentTime
      if (!video.seeking) this.edge.stalled(performance.now() / 1000, aheadS)
    }
  }

  text(message: string): void {
    const parsed = parseMessage(message)
    if (parsed?.type !== 'mime') return
    if (!MediaSource.isTypeSupported(parsed.mime)) {
      this.events.unsupported(parsed.mime)
      return
    }
    // A new format begins with its own init segment: the simplest clean cut is a new source.
    this.drop()
    this.mime = parsed.mime
    if (parsed.mime.includes('mp4a')) this.events.sound()
    this.begin()
  }

  binary(message: ArrayBuffer): void {
    if (this.closed || !this.mime) return
    this.waiting.push(message)
    if (this.waiting.length > MOST_WAITING) this.events.unsupported('stalled')
    this.feed()
  }

  setAudible(on: boolean): void {
    this.video.muted = !on
  }

  close(): void {
    this.closed = true
    this.video.ontimeupdate = this.video.onwaiting = null
    this.drop()
  }

  private begin(): void {
    const source = new MediaSource()
    this.source = source
    this.url = URL.createObjectURL(source)
    source.onsourceopen = () => {
      if (this.source !== source || this.buffer) return
      this.buffer = source.addSourceBuffer(this.mime)
      this.buffer.onupdateend = () => this.feed()
      this.feed()
    }
    this.video.onerror = () => {
      if (!this.closed && this.source === source) {
        this.events.unsupported(this.video.error?.message ?? '')
      }
    }
    this.video.src = this.url
  }

  private feed(): void {
    const buffer = this.buffer
    if (!buffer || buffer.updating || this.source?.readyState !== 'open') return
    this.follow(buffer)
    if (buffer.updating) return
    const next = this.waiting.shift()
    if (!next) return
    try {
      buffer.appendBuffer(next)
    } catch (error) {
      if (error instanceof DOMException && error.name === 'QuotaExceededError') return
      this.events.unsupported(String(error))
    }
  }

  /** Keeps the position near the newest picture and forgets what is long past. */
  private follow(buffer: SourceBuffer): void {
    const { video } = this
    const { buffered } = buffer
    const last = buffered.length - 1
    if (last < 0) return
    const endS = buffered.end(last)
    // While more waits to be added, its end is not where the stream is.
    if (endS !== this.endS && !this.waiting.length && !video.seeking) {
      this.endS = endS
      const [startS, atS] = [buffered.start(last), video.currentTime]
      const move = this.edge.grown({ startS, endS, atS, nowS: performance.now() / 1000 })
      if (move.seekS !== null) video.currentTime = move.seekS
      if (video.playbackRate !== move.rate) video.playbackRate = move.rate
    }
    if (video.paused) void video.play().catch(() => undefined)
    const start = buffered.start(0)
    if (video.currentTime - start > KEEP_S * 2) buffer.remove(start, video.currentTime - KEEP_S)
  }

  private drop(): void {
    this.waiting = []
    this.edge = new LiveEdge()
    this.endS = -1
    this.buffer = null
    this.source = null
    this.mime = ''
    if (!this.url) return
    this.video.removeAttribute('src')
    this.video.load()
    URL.revokeObjectURL(this.url)
    this.url = ''
  }
}
