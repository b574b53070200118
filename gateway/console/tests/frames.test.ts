import { describe, expect, it } from 'vitest'
import { parseMessage, parseUnit } from '@/live/frames'

function message(flags: number, track: number, ptsUs: bigint, data: number[]): ArrayBuffer {
  const buffer = new ArrayBuffer(10 + data.length)
  const view = new DataView(buffer)
  view.setUint8(0, flags)
  view.setUint8(1, track)
  view.setBigUint64(2, ptsUs)
  new Uint8Array(buffer, 10).set(data)
  return buffer
}

describe('parseUnit', () => {
  it('reads flags, track, big-endian time and the unit', () => {
    const unit = parseUnit(message(1, 0, 66_667n, [0, 0, 0, 1, 0x65]))
    expect(unit).toMatchObject({ keyframe: true, discontinuity: false, track: 0, ptsUs: 66_667 })
    expect([...(unit?.data ?? [])]).toEqual([0, 0, 0, 1, 0x65])
  })

  it('tells the flags apart', () => {
    expect(parseUnit(message(2, 1, 0n, []))).toMatchObject({
      keyframe: false,
      discontinuity: true,
      track: 1,
    })
  })

  it('keeps the precision of a stream that runs for a year', () => {
    const year = 31_536_000_000_001n
    expect(parseUnit(message(0, 0, year, [1]))?.ptsUs).toBe(Number(year))
  })

  it('refuses what is shorter than the header', () => {
    expect(parseUnit(new ArrayBuffer(9))).toBeNull()
  })
})

describe('parseMessage', () => {
  it('reads the format of sound', () => {
    const text = '{"type":"audio","codec":"mp4a.40.2","sample_rate_hz":16000,"channels":1,"description":"FAg="}'
    expect(parseMessage(text)).toEqual({
      type: 'audio',
      codec: 'mp4a.40.2',
      sampleRateHz: 16_000,
      channels: 1,
      description: new Uint8Array([0x14, 0x08]),
    })
    expect(parseMessage('{"type":"audio"}')).toBeNull()
  })

  it('decodes the codec description', () => {
    const text = JSON.stringify({
      type: 'video',
      codec: 'avc1.42c01e',
      width: 640,
      height: 360,
      description: btoa('\x01\x42\xc0\xff'),
    })
    const parsed = parseMessage(text)
    expect(parsed).toMatchObject({ type: 'video', codec: 'avc1.42c01e', width: 640, height: 360 })
    expect(parsed?.type === 'video' && [...parsed.description]).toEqual([1, 0x42, 0xc0, 0xff])
  })

  it.each(['{"type":"video"}', '{"type":"other"}', '{"type":"state","state":"?"}', '[]', 'null', '{'])(
    'ignores %s',
    (text) => expect(parseMessage(text)).toBeNull(),
  )

  it('survives a description that is no base64', () => {
    const parsed = parseMessage('{"type":"video","codec":"jpeg","description":"*"}')
    expect(parsed?.type === 'video' && parsed.description.length).toBe(0)
  })

  it('reads states and the format of fMP4', () => {
    expect(parseMessage('{"type":"state","state":"reconnecting","reason":"timed out"}')).toEqual({
      type: 'state',
      state: 'reconnecting',
      reason: 'timed out',
    })
    expect(parseMessage('{"mime":"video/mp4; codecs=\\"avc1\\""}')).toMatchObject({ type: 'mime' })
  })
})
