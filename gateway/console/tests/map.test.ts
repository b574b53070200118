import { describe, expect, it, vi } from 'vitest'
import { effectScope } from 'vue'
import type { Api } from '@/api/api'
import type { EventStream } from '@/api/stream'
import { cellFeatures } from '@/map/features'
import { useMapPoints } from '@/map/usePoints'

const SILENT = { on: () => () => undefined } as unknown as EventStream
const CELL = { points: 14500, longitude: 123.4, latitude: 41.8, bbox: [123, 41, 124, 42] }

function point(number: number) {
  return { id: `p${number}`, name: `p${number}`, longitude: 1, latitude: 2, status: 'online' }
}

/** An api with so many points in all, of which a box holds `inView`. */
function api(inAll: number, inView: number) {
  const points = vi.fn(({ bbox }: { bbox: string }, limit: number, cursor: string | null) => {
    const total = bbox ? inView : inAll
    const from = Number(cursor ?? 0)
    const items = Array.from({ length: Math.min(limit, total - from) }, (_, n) => point(from + n))
    const next = from + items.length < total ? String(from + items.length) : null
    return Promise.resolve({ items, next, total })
  })
  const clusters = vi.fn(() => Promise.resolve({ items: [CELL], total: inAll }))
  return { points, clusters, as: { points, clusters } as unknown as Api }
}

function inScope<T>(run: () => T): T {
  return effectScope().run(run) as T
}

describe('points of the map', () => {
  it('are all there when they are few, and asked for once', async () => {
    const fake = api(700, 0)
    const map = inScope(() => useMapPoints(fake.as, SILENT))
    await map.load()
    expect(map.points.value).toHaveLength(700)
    expect(map.cells.value).toEqual([])
    map.follow('1,2,3,4', 9)
    expect(fake.points).toHaveBeenCalledTimes(2)
    expect(fake.clusters).not.toHaveBeenCalled()
  })

  it('are counted by cell when they are too many, and shown one by one in a small view', async () => {
    const fake = api(14500, 3)
    const map = inScope(() => useMapPoints(fake.as, SILENT))
    await map.load()
    expect(map.points.value).toEqual([])
    expect(map.cells.value).toEqual([CELL])
    expect(map.total.value).toBe(14500)
    map.follow('123,41,124,42', 15.7)
    await vi.waitFor(() => expect(map.points.value).toHaveLength(3))
    expect(map.cells.value).toEqual([])
    expect(map.total.value).toBe(14500)
  })

  it('asks for the cells of the view at its zoom', async () => {
    const fake = api(1000000, 60000)
    const map = inScope(() => useMapPoints(fake.as, SILENT))
    await map.load()
    map.follow('123,41,124,42', 9.4)
    await vi.waitFor(() => expect(fake.clusters).toHaveBeenCalledTimes(2))
    expect(fake.clusters.mock.calls[1]?.slice(0, 2)).toEqual([10, '123,41,124,42'])
  })

  it('draws a cell where its points are', () => {
    const [feature] = cellFeatures([CELL as never]).features
    expect(feature?.geometry).toEqual({ type: 'Point', coordinates: [123.4, 41.8] })
    expect(feature?.properties).toMatchObject({ point_count: 14500 })
  })
})
