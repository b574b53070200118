import type { Polygon } from '@/api/types'

/** How near to the first corner a click closes a polygon, in shares of the frame. */
const NEAR = 0.02

const within = (share: number) => Math.min(1, Math.max(0, Math.round(share * 1e4) / 1e4))

/** Whether it has an area: three corners that do not lie on one line. */
export function drawable(polygon: Polygon): boolean {
  const area = polygon.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length] ?? [0, 0]
    return sum + x * nextY - nextX * y
  }, 0)
  return polygon.length >= 3 && Math.abs(area) > 1e-5
}

/** What a click makes of the polygon that is being drawn: a further corner, or a closed one. */
export function afterClick(
  drawn: Polygon,
  [x, y]: [number, number],
): { drawn: Polygon; closed: Polygon | null } {
  const [first] = drawn
  const closes = first && Math.abs(first[0] - x) < NEAR && Math.abs(first[1] - y) < NEAR
  if (closes && drawable(drawn)) return { drawn: [], closed: drawn }
  if (closes) return { drawn, closed: null }
  return { drawn: [...drawn, [within(x), within(y)]], closed: null }
}
