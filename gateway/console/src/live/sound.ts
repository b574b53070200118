import type { AudioMessage, Unit } from './frames'

/** How far ahead of the speaker sound is placed, in s: less stutters, more lags behind the picture. */
const AHEAD_S = 0.08
const MOST_AHEAD_S = 0.6
const MOST_QUEUED = 50

/** One G.711 A-law byte as a sample, -1..1. Source: ITU-T G.711, table 1a. */
export function fromALaw(byte: number): number {
  const value = byte ^ 0x55
  const exponent = (value >> 4) & 7
  const mantissa = value & 15
  const size = exponent === 0 ? mantissa * 16 + 8 : (mantissa * 16 + 264) << (exponent - 1)
  return (value & 0x80 ? size : -size) / 32768
}

/** One G.711 µ-law byte as a sample, -1..1. Source: ITU-T G.711, table 2a. */
export function fromMuLaw(byte: number): number {
  const value = ~byte & 0xff
  const size = ((((value & 15) << 3) + 132) << ((value >> 4) & 7)) - 132
  return (value & 0x80 ? -size : size) / 32768
}

export function playsSound(codec: string): boolean {
  if (typeof AudioContext !== 'function') return false
  return codec === 'pcma' || codec === 'pcmu' || (codec.startsWith('mp4a.40') && hasDecoder())
}

function hasDecoder(): boolean {
  return typeof AudioDecoder === 'function'
}

/** The sound of one stream: G.711 by ourselves, AAC by WebCodecs, both to the Web Audio API. */
export class Sound {
  private context: AudioContext | null = null
  private decoder: AudioDecoder | null = null
  private format: AudioMessage | null = null
  private nextS = 0
  private on = false

  setFormat(format: AudioMessage): boolean {
    this.format = format
    this.drop()
    return playsSound(format.codec)
  }

  /** Only a click or a key may begin sound: browsers refuse it otherwise. */
  setAudible(on: boolean): void {
    if (on === this.on) return
    this.on = on
    this.drop()
    if (!on) {
      void this.context?.close()
      this.context = null
    } else if (typeof AudioContext === 'function') {
      this.context = new AudioContext()
    }
  }

  push(unit: Unit): void {
    const { format } = this
    if (!this.on || !this.context || !format) return
    if (format.codec === 'pcma') this.g711(unit.data, fromALaw, format)
    else if (format.codec === 'pcmu') this.g711(unit.data, fromMuLaw, format)
    else this.decode(unit, format)
  }

  close(): void {
    this.setAudible(false)
  }

  private g711(data: Uint8Array, decode: (byte: number) => number, format: AudioMessage): void {
    const channels = Math.max(1, format.channels)
    const frames = Math.floor(data.length / channels)
    if (!frames || !this.context) return
    const buffer = this.context.createBuffer(channels, frames, format.sampleRateHz || 8000)
    for (let channel = 0; channel < channels; channel++) {
      const samples = buffer.getChannelData(channel)
      for (let i = 0; i < frames; i++) samples[i] = decode(data[i * channels + channel] ?? 0)
    }
    this.place(buffer)
  }

  private decode(unit: Unit, format: AudioMessage): void {
    this.decoder ??= this.newDecoder(format)
    if (!this.decoder || this.decoder.decodeQueueSize > MOST_QUEUED) return
    try {
      this.decoder.decode(
        new EncodedAudioChunk({ type: 'key', timestamp: unit.ptsUs, data: unit.data }),
      )
    } catch {
      this.drop()
    }
  }

  private newDecoder(format: AudioMessage): AudioDecoder | null {
    if (!hasDecoder()) return null
    const decoder = new AudioDecoder({
      output: (data) => this.heard(data),
      error: () => this.drop(),
    })
    const config: AudioDecoderConfig = {
      codec: format.codec,
      sampleRate: format.sampleRateHz,
      numberOfChannels: format.channels,
    }
    if (format.description.length > 0) config.description = format.description
    try {
      decoder.configure(config)
    } catch {
      return null
    }
    return decoder
  }

  private heard(data: AudioData): void {
    const { numberOfChannels, numberOfFrames, sampleRate } = data
    const buffer = this.context?.createBuffer(numberOfChannels, numberOfFrames, sampleRate)
    for (let channel = 0; buffer && channel < numberOfChannels; channel++) {
      data.copyTo(buffer.getChannelData(channel), { planeIndex: channel, format: 'f32-planar' })
    }
    data.close()
    if (buffer) this.place(buffer)
  }

  private place(buffer: AudioBuffer): void {
    const { context } = this
    if (!context) return
    const nowS = context.currentTime
    if (this.nextS < nowS) this.nextS = nowS + AHEAD_S
    if (this.nextS > nowS + MOST_AHEAD_S) return
    const source = context.createBufferSource()
    source.buffer = buffer
    source.connect(context.destination)
    source.start(this.nextS)
    this.nextS += buffer.duration
  }

  private drop(): void {
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close()
    this.decoder = null
    this.nextS = 0
  }
}
