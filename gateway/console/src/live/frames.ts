/** The `frames` WebSocket of the contract: messages and units, without any I/O. */

export const VIDEO_TRACK = 0
export const AUDIO_TRACK = 1
const HEADER_BYTES = 10

export interface Unit {
  keyframe: boolean
  discontinuity: boolean
  track: number
  ptsUs: number
  data: Uint8Array<ArrayBuffer>
}

/** One binary message. Null when it is shorter than its own header. */
export function parseUnit(buffer: ArrayBuffer): Unit | null {
  if (buffer.byteLength < HEADER_BYTES) return null
  const view = new DataView(buffer)
  const flags = view.getUint8(0)
  return {
    keyframe: (flags & 1) !== 0,
    discontinuity: (flags & 2) !== 0,
    track: view.getUint8(1),
    ptsUs: Number(view.getBigUint64(2)),
    data: new Uint8Array(buffer, HEADER_BYTES),
  }
}

export type LiveState = 'live' | 'reconnecting' | 'ended'

export interface VideoMessage {
  type: 'video'
  codec: string
  width: number
  height: number
  description: Uint8Array<ArrayBuffer>
}

export interface AudioMessage {
  type: 'audio'
  codec: string
  sampleRateHz: number
  channels: number
  description: Uint8Array<ArrayBuffer>
}

export interface StateMessage {
  type: 'state'
  state: LiveState
  reason: string | null
}

export interface MimeMessage {
  type: 'mime'
  mime: string
}

export type LiveMessage = VideoMessage | AudioMessage | StateMessage | MimeMessage

/** One text message of a live WebSocket. Null for what this console does not know or need. */
export function parseMessage(text: string): LiveMessage | null {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof message !== 'object' || message === null) return null
  const fields = message as Record<string, unknown>
  if (fields.type === 'state') return stateMessage(fields)
  if (fields.type === 'video') return videoMessage(fields)
  if (fields.type === 'audio') return audioMessage(fields)
  if (typeof fields.mime === 'string') return { type: 'mime', mime: fields.mime }
  return null
}

function stateMessage(fields: Record<string, unknown>): StateMessage | null {
  const { state, reason } = fields
  if (state !== 'live' && state !== 'reconnecting' && state !== 'ended') return null
  return { type: 'state', state, reason: typeof reason === 'string' && reason ? reason : null }
}

function videoMessage(fields: Record<string, unknown>): VideoMessage | null {
  if (typeof fields.codec !== 'string') return null
  return {
    type: 'video',
    codec: fields.codec,
    width: Number(fields.width) || 0,
    height: Number(fields.height) || 0,
    description: fromBase64(typeof fields.description === 'string' ? fields.description : ''),
  }
}

function audioMessage(fields: Record<string, unknown>): AudioMessage | null {
  if (typeof fields.codec !== 'string') return null
  return {
    type: 'audio',
    codec: fields.codec,
    sampleRateHz: Number(fields.sample_rate_hz) || 0,
    channels: Number(fields.channels) || 1,
    description: fromBase64(typeof fields.description === 'string' ? fields.description : ''),
  }
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  } catch {
    return new Uint8Array()
  }
}
