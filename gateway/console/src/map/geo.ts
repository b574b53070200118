import type { MultiPolygon, Polygon, Position } from 'geojson'

export type Area = Polygon | MultiPolygon
/** West, south, east, north in degrees. */
export type Bounds = [number, number, number, number]

function outerRings(area: Area): Position[][] {
  const polygons = area.type === 'Polygon' ? [area.coordinates] : area.coordinates
  return polygons.flatMap((rings) => (rings[0] ? [rings[0]] : []))
}

/** The box around areas and positions. Null when there is nothing. */
export function boundsOf(areas: readonly Area[], positions: readonly Position[]): Bounds | null {
  const all = [...areas.flatMap((area) => outerRings(area).flat()), ...positions]
  if (all.length === 0) return null
  const bounds: Bounds = [Infinity, Infinity, -Infinity, -Infinity]
  for (const [x = 0, y = 0] of all) {
    bounds[0] = Math.min(bounds[0], x)
    bounds[1] = Math.min(bounds[1], y)
    bounds[2] = Math.max(bounds[2], x)
    bounds[3] = Math.max(bounds[3], y)
  }
  return bounds
}

/** Where the name of an area goes: the centre of gravity of its largest part. */
export function labelPosition(area: Area): Position | null {
  let best: { size: number; at: Position } | null = null
  for (const ring of outerRings(area)) {
    const centre = centreOf(ring)
    if (centre && (!best || centre.size > best.size)) best = centre
  }
  return best?.at ?? null
}

function centreOf(ring: readonly Position[]): { size: number; at: Position } | null {
  const [x0, y0] = [ring[0]?.[0] ?? 0, ring[0]?.[1] ?? 0]
  let [twice, cx, cy] = [0, 0, 0]
  for (let i = 0; i + 1 < ring.length; i += 1) {
    // Relative to the first corner: degrees squared lose too many digits otherwise.
    const [ax, ay] = [(ring[i]?.[0] ?? 0) - x0, (ring[i]?.[1] ?? 0) - y0]
    const [bx, by] = [(ring[i + 1]?.[0] ?? 0) - x0, (ring[i + 1]?.[1] ?? 0) - y0]
    const cross = ax * by - bx * ay
    twice += cross
    cx += (ax + bx) * cross
    cy += (ay + by) * cross
  }
  if (twice === 0) return null
  return { size: Math.abs(twice), at: [x0 + cx / (3 * twice), y0 + cy / (3 * twice)] }
}
