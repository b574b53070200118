import { afterEach, describe, expect, it, vi } from 'vitest'
import type { StreamProfile } from '@/api/types'
import { backoffMs } from '@/live/outcome'
import { detectAbilities, familyOf, waysOf, type Abilities, type Family } from '@/live/ways'

const profile = (name: string, codec: string): StreamProfile => ({
  name,
  codec,
  width: 0,
  height: 0,
  fps: 0,
})
const can = (webcodecs: Family[], mse: Family[] = []): Abilities => ({
  webcodecs: new Set<Family>(['jpeg', ...webcodecs]),
  mse: new Set(mse),
  webrtc: new Set(),
})
const both = [profile('main', 'h265'), profile('sub', 'h264')]
const written = (...given: Parameters<typeof waysOf>) =>
  waysOf(...given).map(({ transport, profile, notice }) => `${transport}/${profile}/${notice ?? ''}`)

describe('the way to a picture', () => {
  it('takes H.265 as it is where the browser has it', () => {
    const [first] = waysOf(both, 'main', can(['h264', 'h265']))
    expect(first).toEqual({ transport: 'frames', profile: 'main', notice: null })
  })

  it('takes MSE before giving up the main stream', () => {
    expect(written(both, 'main', can(['h264'], ['h264', 'h265']))).toEqual([
      'fmp4/main/',
      'frames/sub/sub_instead',
      'fmp4/sub/sub_instead',
      'jpeg/sub/jpeg',
    ])
  })

  it('takes the sub-stream in H.264 where H.265 cannot be played, and says so', () => {
    expect(written(both, 'main', can(['h264']))[0]).toBe('frames/sub/sub_instead')
  })

  it('takes JPEG where nothing else is left, of the smaller stream', () => {
    const hard = [profile('main', 'h265'), profile('sub', 'h265')]
    expect(written(hard, 'main', can(['h264'], ['h264']))).toEqual(['jpeg/sub/jpeg'])
    expect(written([profile('main', 'h265')], 'main', can(['h264']))).toEqual(['jpeg/main/jpeg'])
  })

  it('shows a camera that sends JPEG without any decoder', () => {
    expect(written([profile('main', 'jpeg')], 'main', can([]))[0]).toBe('frames/main/')
  })

  it('judges a sub-stream that there is not by the main one, which the gateway gives', () => {
    expect(written([profile('main', 'h265')], 'sub', can(['h264']))).toEqual(['jpeg/sub/jpeg'])
  })

  it('tries what is not known', () => {
    expect(written([], 'main', can(['h264'], ['h264']))).toEqual([
      'frames/main/',
      'fmp4/main/',
      'jpeg/main/jpeg',
    ])
  })

  it('knows codecs by all their names', () => {
    const names = ['h264', 'H265', 'avc1.42c01e', 'hev1.1.6.L93.B0', 'MJPEG', 'vp9', '', null]
    expect(names.map(familyOf)).toEqual([
      'h264',
      'h265',
      'h264',
      'h265',
      'jpeg',
      'other',
      null,
      null,
    ])
  })
})

describe('what the browser can do', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('is asked of both interfaces', async () => {
    vi.stubGlobal('VideoDecoder', {})
    vi.stubGlobal(
      'VideoDecoder',
      Object.assign(function () {}, {
        isConfigSupported: ({ codec }: { codec: string }) =>
          codec.startsWith('avc1') ? Promise.resolve({ supported: true }) : Promise.reject(new Error()),
      }),
    )
    vi.stubGlobal(
      'MediaSource',
      Object.assign(function () {}, { isTypeSupported: (mime: string) => mime.includes('hvc1') }),
    )
    const { webcodecs, mse } = await detectAbilities()
    expect([[...webcodecs], [...mse]]).toEqual([['jpeg', 'h264'], ['h265']])
  })

  it('is JPEG alone in a browser that has neither', async () => {
    vi.stubGlobal('VideoDecoder', undefined)
    vi.stubGlobal('MediaSource', undefined)
    const { webcodecs, mse } = await detectAbilities()
    expect([[...webcodecs], [...mse]]).toEqual([['jpeg'], []])
  })
})

describe('trying again', () => {
  it('is spread, grows, and stays short enough to be back within 10 s', () => {
    for (let attempt = 0; attempt < 20; attempt++) {
      expect(backoffMs(attempt, 1)).toBeGreaterThan(backoffMs(attempt, 0))
      expect(backoffMs(attempt, 1)).toBeLessThanOrEqual(3000)
    }
    expect(backoffMs(0, 1)).toBeLessThan(backoffMs(3, 1))
  })
})
