import { describe, expect, it } from 'vitest'
import { LiveEdge } from '@/live/liveEdge'

/**
 * A player and a stream in steps of 5 ms. comes: when each picture arrives, in s; each lasts
 * frameS. aheadS: how much is in the buffer at first.
 */
function watched(comes: number[], frameS: number, aheadS: number) {
  const edge = new LiveEdge()
  let [endS, atS, rate, next, dry] = [aheadS, 0, 1, 0, false]
  const seeks: number[] = []
  const stalls: number[] = []
  const behind: number[] = []
  const lastS = comes.at(-1) ?? 0
  for (let nowS = 0; nowS < lastS; nowS += 0.005) {
    atS = Math.min(endS, atS + 0.005 * rate)
    if (atS >= endS && !dry) {
      stalls.push(nowS)
      edge.stalled(nowS, endS - atS)
    }
    dry = atS >= endS
    while ((comes[next] ?? Infinity) <= nowS) {
      endS += frameS
      next += 1
      const move = edge.grown({ startS: 0, endS, atS, nowS })
      if (move.seekS !== null) {
        atS = move.seekS
        seeks.push(nowS)
      }
      rate = move.rate
      expect(Math.abs(rate - 1)).toBeLessThanOrEqual(0.1)
    }
    behind.push(endS - atS)
  }
  const later = behind.slice(behind.length * 0.75)
  return { seeks, stalls, mostBehindS: Math.max(...later), comes: comes.length }
}
const steady = (fps: number, seconds: number) =>
  Array.from({ length: fps * seconds }, (_, n) => (n + 1) / fps)

describe('a position behind the live edge', () => {
  it('jumps once over the group that it begins with, and stays close at 15 pictures a second', () => {
    const { seeks, stalls, mostBehindS } = watched(steady(15, 60), 1 / 15, 2)
    expect(seeks).toHaveLength(1)
    expect(stalls).toHaveLength(0)
    expect(mostBehindS).toBeLessThan(0.2)
  })

  it('knows that one picture a second is no delay', () => {
    const { seeks, stalls, mostBehindS } = watched(steady(1, 120), 1, 4)
    expect(seeks.length).toBeLessThanOrEqual(2)
    expect(stalls.length).toBeLessThanOrEqual(3)
    expect(mostBehindS).toBeLessThan(1.3)
  })

  it('catches up what is a little by playing faster', () => {
    const { seeks, mostBehindS } = watched(steady(15, 60), 1 / 15, 0.25)
    expect(seeks).toHaveLength(0)
    expect(mostBehindS).toBeLessThan(0.2)
  })

  it('keeps more where pictures come unevenly, so that it seldom runs dry', () => {
    // Eight pictures at once, every eight fifteenths of a second.
    const bursts = steady(15, 120).map((s) => Math.ceil((s * 15) / 8) * (8 / 15))
    const { seeks, stalls } = watched(bursts, 1 / 15, 2)
    // Of 112 bursts.
    expect(stalls.filter((s) => s > 60).length).toBeLessThanOrEqual(15)
    expect(seeks.filter((s) => s > 30).length).toBeLessThanOrEqual(2)
  })

  it('goes back to the newest picture after a long gap', () => {
    const gap = steady(15, 60).map((s) => (s > 30 && s < 35 ? 35 : s))
    const { seeks, mostBehindS } = watched(gap, 1 / 15, 2)
    expect(seeks.length).toBeLessThanOrEqual(3)
    expect(mostBehindS).toBeLessThan(0.35)
  })

  it('never seeks on and on where a stream comes faster than it plays', () => {
    const { seeks } = watched(steady(30, 60), 1 / 15, 0)
    expect(seeks.length).toBeLessThanOrEqual(31)
  })

  it('keeps no more for a decoder that is late, nor for a single stall', () => {
    const edge = new LiveEdge()
    edge.grown({ startS: 0, endS: 0.1, atS: 0, nowS: 0 })
    const before = edge.targetS
    for (let nowS = 3; nowS < 60; nowS += 1) edge.stalled(nowS, 0.1)
    expect(edge.targetS).toBe(before)
    edge.stalled(70, 0)
    expect(edge.targetS).toBe(before)
    edge.stalled(75, 0)
    expect(edge.targetS).toBeGreaterThan(before)
  })

  it('enters what there is from outside of it', () => {
    const edge = new LiveEdge()
    const move = edge.grown({ startS: 40, endS: 40.05, atS: 0, nowS: 1 })
    expect(move.seekS).toBe(40)
    const next = edge.grown({ startS: 40, endS: 40.1, atS: 39.9999, nowS: 1.1 })
    expect(next.seekS).toBeNull()
  })
})
