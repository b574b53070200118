import { describe, expect, it } from 'vitest'
import { Problem, problemOf } from '@/api/problem'
import type { BusEvent, Point } from '@/api/types'
import { addressOf, describe as describeEvent } from '@/events/describe'
import { chooseLanguage } from '@/i18n'
import { en } from '@/i18n/en'
import { zh } from '@/i18n/zh'
import { afterClose, afterProblem } from '@/live/outcome'
import { fileName } from '@/live/useSnapshot'
import { pointFeatures } from '@/map/features'
import { boundsOf, labelPosition, type Area } from '@/map/geo'
import { healthOf } from '@/radio/groups'
import { covers } from '@/session/session'
import { elapsed } from '@/ui/time'

describe('languages', () => {
  it('takes the stored one, else the first of the browser that it has', () => {
    expect(chooseLanguage('en', ['zh-CN'])).toBe('en')
    expect(chooseLanguage('xx', ['fr', 'zh-TW', 'en'])).toBe('zh-CN')
    expect(chooseLanguage(null, ['en-GB', 'zh'])).toBe('en')
    expect(chooseLanguage(null, ['fr'])).toBe('zh-CN')
  })

  it('has the same places for values in both', () => {
    const places = (tree: object): string[] =>
      Object.entries(tree).flatMap(([key, value]) =>
        typeof value === 'string'
          ? [`${key}: ${[...new Set(value.match(/\{\w+\}/g))].sort().join()}`]
          : places(value as object).map((line) => `${key}.${line}`),
      )
    expect(places(zh)).toEqual(places(en))
  })
})

describe('outcomes of a stream', () => {
  it.each([
    [403, 'ended', 'forbidden'],
    [404, 'ended', 'not_found'],
    [409, 'ended', 'no_source'],
    [503, 'retry', 'limit'],
    [0, 'retry', 'network'],
    [500, 'retry', 'gateway'],
  ])('answer %i → %s, %s', (status, kind, reason) => {
    expect(afterProblem(new Problem(status, 'x'))).toMatchObject({ kind, reason })
  })

  it('asks for a purpose where one is missing, and only there', () => {
    const purpose = new Problem(422, 'Invalid', null, null, [{ loc: ['body', 'purpose'] }])
    expect(afterProblem(purpose)).toMatchObject({ reason: 'purpose' })
    expect(afterProblem(new Problem(422, 'Invalid'))).toMatchObject({ reason: 'refused' })
  })

  it('waits as long as it is told', () => {
    expect(afterProblem(new Problem(503, 'Full', null, 7))).toMatchObject({ waitMs: 7000 })
  })

  it.each([
    [4401, 'retry', 'ticket'],
    [4403, 'ended', 'right_lost'],
    [4404, 'ended', 'no_source'],
    [4429, 'retry', 'limit'],
    [1001, 'retry', 'restart'],
    [1006, 'retry', 'network'],
    [1013, 'retry', 'gateway'],
  ])('close code %i → %s, %s', (code, kind, reason) => {
    expect(afterClose(code, '')).toMatchObject({ kind, reason })
  })

  it('believes an ended state, but not over what the code says', () => {
    const gone = { kind: 'ended', reason: 'ended', detail: 'gone' }
    expect(afterClose(1000, '', 'gone')).toEqual(gone)
    expect(afterClose(4403, '', 'share over')).toMatchObject({ reason: 'right_lost' })
    expect(afterClose(1001, '', 'stopping')).toMatchObject({ kind: 'retry' })
  })
})

describe('problems', () => {
  it('reads a problem document', async () => {
    const body = JSON.stringify({ title: 'Conflict', detail: 'code in use' })
    const headers = { 'Retry-After': '3' }
    expect(await problemOf(new Response(body, { status: 409, headers }))).toMatchObject({
      status: 409,
      title: 'Conflict',
      detail: 'code in use',
      retryAfterS: 3,
    })
  })

  it('makes do with an answer that is none', async () => {
    const problem = await problemOf(new Response('<html>', { status: 502 }))
    expect([problem.status, problem.detail]).toEqual([502, null])
  })
})

describe('words and figures', () => {
  const event = (type: string, data: Record<string, unknown>) =>
    describeEvent({ id: 'e', type, subject: 'c', time: '', data } as BusEvent)

  it('describes events', () => {
    expect(event('hutong.floor.taken', { talker: 's/2312001' })).toMatchObject({
      group: 'radio',
      tone: 'talk',
      who: '2312001',
    })
    expect(event('hutong.floor.taken', { emergency: true, talker_alias: 'Li' })).toMatchObject({
      tone: 'alarm',
      who: 'Li',
    })
    expect(event('hutong.point.tamper', {})).toMatchObject({ group: 'camera', tone: 'alarm' })
    expect(event('hutong.point.tamper', { active: false }).alarm).toBe(false)
    expect(event('hutong.system.alarm', { active: true })).toMatchObject({
      group: 'radio',
      alarm: true,
    })
    expect(event('hutong.floor.taken', { emergency: true }).alarm).toBe(false)
    expect(event('hutong.news', {})).toMatchObject({ group: 'other', tone: 'quiet', who: null })
  })

  it('cuts the system off a talker', () => {
    expect(addressOf('system/a/b')).toBe('a/b')
    expect(addressOf('')).toBeNull()
  })

  it('counts time, never below zero', () => {
    const at = Date.parse('2026-01-01T01:00:00Z')
    expect(elapsed('2026-01-01T00:59:55Z', at)).toBe('0:05')
    expect(elapsed('2025-12-31T23:58:50Z', at)).toBe('1:01:10')
    expect(elapsed('2026-01-01T01:00:09Z', at)).toBe('0:00')
    expect(elapsed(null, at)).toBe('')
  })

  it('knows who stands above whom', () => {
    expect(covers('d/s', 'd/s/room-1')).toBe(true)
    expect(covers('d/s', 'd/s')).toBe(true)
    expect(covers('d/s', 'd/s2')).toBe(false)
  })

  it('reads health in any of its words', () => {
    expect(['ok', 'offline', 'slow', 'unknown', null].map(healthOf)).toEqual([
      'ok',
      'offline',
      'degraded',
      'unknown',
      'unknown',
    ])
  })

  it('makes file names that every system takes', () => {
    const at = new Date(2026, 10, 21, 9, 5, 7)
    expect(fileName('East gate: 1/2', at)).toBe('East-gate-1-2_20261121-090507.jpg')
  })
})

describe('map', () => {
  const square: Area = {
    type: 'Polygon',
    coordinates: [[[121, 31], [121.2, 31], [121.2, 31.1], [121, 31.1], [121, 31]]],
  }

  it('puts a name in the middle of the largest part', () => {
    const small = [[[0, 0], [0.01, 0], [0.01, 0.01], [0, 0]]]
    const many: Area = { type: 'MultiPolygon', coordinates: [small, square.coordinates] }
    for (const area of [square, many]) {
      const [x = 0, y = 0] = labelPosition(area) ?? []
      expect(x).toBeCloseTo(121.1, 9)
      expect(y).toBeCloseTo(31.05, 9)
    }
  })

  it('has no place for the name of a line', () => {
    expect(labelPosition({ type: 'Polygon', coordinates: [[[0, 0], [1, 1], [0, 0]]] })).toBeNull()
  })

  it('bounds areas and positions', () => {
    expect(boundsOf([square], [[120, 32]])).toEqual([120, 31, 121.2, 32])
    expect(boundsOf([], [])).toBeNull()
  })

  it('leaves out points without a place', () => {
    const points = [
      { id: 'a', longitude: 1, latitude: 2, status: 'fault' },
      { id: 'b', longitude: null, latitude: null, status: 'online' },
    ] as Point[]
    const { features } = pointFeatures(points)
    expect(features.map(({ properties }) => [properties?.id, properties?.away])).toEqual([['a', 1]])
  })
})
