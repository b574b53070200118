import type { Feature, FeatureCollection, Point as GeoPoint } from 'geojson'
import type { Cluster, Organization, Point } from '@/api/types'
import { labelPosition } from './geo'

export type Located = Point & { longitude: number; latitude: number }

export function isLocated(point: Point): point is Located {
  return point.longitude !== null && point.latitude !== null
}

function collection(features: Feature[]): FeatureCollection {
  return { type: 'FeatureCollection', features }
}

function at(longitude: number, latitude: number): GeoPoint {
  return { type: 'Point', coordinates: [longitude, latitude] }
}

export function areaFeatures(organizations: readonly Organization[]): FeatureCollection {
  return collection(
    organizations.flatMap(({ id, kind, name, jurisdiction }) =>
      jurisdiction
        ? [{ type: 'Feature', geometry: jurisdiction, properties: { id, kind, name } }]
        : [],
    ),
  )
}

export function areaLabels(organizations: readonly Organization[]): FeatureCollection {
  return collection(
    organizations.flatMap(({ kind, name, jurisdiction }) => {
      const position = jurisdiction ? labelPosition(jurisdiction) : null
      const [x, y] = position ?? []
      if (x === undefined || y === undefined) return []
      return [{ type: 'Feature', geometry: at(x, y), properties: { kind, name } }]
    }),
  )
}

export function pointFeatures(points: readonly Point[]): FeatureCollection {
  return collection(
    points.filter(isLocated).map(({ id, name, status, longitude, latitude }) => ({
      type: 'Feature',
      geometry: at(longitude, latitude),
      properties: { id, name, status, away: status === 'online' ? 0 : 1 },
    })),
  )
}

export function cellFeatures(cells: readonly Cluster[]): FeatureCollection {
  return collection(
    cells.map(({ points, longitude, latitude }) => ({
      type: 'Feature',
      geometry: at(longitude, latitude),
      properties: { point_count: points, away: 0 },
    })),
  )
}
