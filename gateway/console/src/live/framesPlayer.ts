import {
  AUDIO_TRACK,
  parseMessage,
  parseUnit,
  VIDEO_TRACK,
  type Unit,
  type VideoMessage,
} from './frames'
import { Painter } from './painter'
import type { Player, PlayerEvents } from './player'
import { Sound } from './sound'

// A decoder this far behind shows the past: skip to the next keyframe instead.
const MOST_QUEUED = 30
const MOST_FAILURES = 3

/** Access units → WebCodecs → canvas. */
export class FramesPlayer implements Player {
  private decoder: VideoDecoder | null = null
  private format: VideoMessage | null = null
  private awaitsKeyframe = true
  private failures = 0
  private jpegBusy = false
  private closed = false
  private readonly painter: Painter
  private readonly sound = new Sound()

  constructor(
    canvas: HTMLCanvasElement,
    private readonly events: PlayerEvents,
  ) {
    this.painter = new Painter(canvas, (width, height) => events.picture(width, height))
  }

  text(message: string): void {
    const parsed = parseMessage(message)
    if (parsed?.type === 'audio' && this.sound.setFormat(parsed)) this.events.sound()
    if (parsed?.type !== 'video') return
    this.format = parsed
    this.restart()
  }

  binary(message: ArrayBuffer): void {
    const unit = parseUnit(message)
    if (!unit || this.closed) return
    if (unit.track === AUDIO_TRACK) return this.sound.push(unit)
    if (unit.track !== VIDEO_TRACK || !this.format) return
    if (this.format.codec === 'jpeg') void this.jpeg(unit)
    else this.decode(unit)
  }

  setAudible(on: boolean): void {
    this.sound.setAudible(on)
  }

  close(): void {
    this.closed = true
    this.sound.close()
    this.drop()
    this.painter.close()
  }

  private decode(unit: Unit): void {
    if (!this.decoder) return
    if (unit.discontinuity) this.awaitsKeyframe = true
    if (this.decoder.decodeQueueSize > MOST_QUEUED) this.awaitsKeyframe = true
    if (this.awaitsKeyframe && !unit.keyframe) return
    this.awaitsKeyframe = false
    const type = unit.keyframe ? 'key' : 'delta'
    try {
      this.decoder.decode(
        new EncodedVideoChunk({ type, timestamp: unit.ptsUs, data: unit.data }),
      )
    } catch {
      this.restart()
    }
  }

  private async jpeg(unit: Unit): Promise<void> {
    if (this.jpegBusy) return
    this.jpegBusy = true
    try {
      const picture = await createImageBitmap(new Blob([unit.data], { type: 'image/jpeg' }))
      if (this.closed) picture.close()
      else this.painter.show(picture)
    } catch {
      // One picture that is no JPEG: the next one is shown.
    } finally {
      this.jpegBusy = false
    }
  }

  private restart(): void {
    this.drop()
    this.awaitsKeyframe = true
    const format = this.format
    if (this.closed || !format || format.codec === 'jpeg') return
    if (typeof VideoDecoder !== 'function') return this.events.unsupported(format.codec)
    const decoder = new VideoDecoder({
      output: (frame) => {
        this.failures = 0
        if (this.closed || this.decoder !== decoder) frame.close()
        else this.painter.show(frame)
      },
      error: (error) => this.failed(decoder, error),
    })
    this.decoder = decoder
    const config: VideoDecoderConfig = { codec: format.codec, optimizeForLatency: true }
    if (format.description.length > 0) config.description = format.description
    try {
      decoder.configure(config)
    } catch (error) {
      this.failed(decoder, error)
    }
  }

  private failed(decoder: VideoDecoder, error: unknown): void {
    if (this.closed || this.decoder !== decoder) return
    const impossible = error instanceof DOMException && error.name === 'NotSupportedError'
    if (impossible || error instanceof TypeError || ++this.failures >= MOST_FAILURES) {
      this.drop()
      this.events.unsupported(this.format?.codec ?? '')
    } else {
      this.restart()
    }
  }

  private drop(): void {
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close()
    this.decoder = null
  }
}
