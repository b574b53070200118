import type { FeatureCollection } from 'geojson'
import type {
  ExpressionSpecification,
  LayerSpecification,
  StyleSpecification,
} from 'maplibre-gl'

/** No glyphs and no sprite address: text is drawn from the fonts of this machine. */
const FONT = ['sans-serif']

export interface MapData {
  areas: FeatureCollection
  labels: FeatureCollection
  points: FeatureCollection
  cells: FeatureCollection
}

const LIGHT = {
  ground: '#e4e9ea',
  area: '#f8faf9',
  line: '#7d9990',
  text: '#2a3b37',
  halo: '#f8faf9',
  surface: '#ffffff',
  accent: '#17604f',
  accentText: '#ffffff',
  online: '#23905f',
  offline: '#7a878e',
  fault: '#d98a00',
}
const DARK: typeof LIGHT = {
  ground: '#0e1315',
  area: '#182024',
  line: '#4d6a62',
  text: '#c7d3d3',
  halo: '#0e1315',
  surface: '#10171a',
  accent: '#3fa98b',
  accentText: '#06120e',
  online: '#43ba84',
  offline: '#8b99a0',
  fault: '#e5a63a',
}

const byKind = (district: number, station: number, workroom: number): ExpressionSpecification => [
  'match',
  ['get', 'kind'],
  'district',
  district,
  'station',
  station,
  workroom,
]

/** The whole map: ground, jurisdictions, clusters and points. Nothing is fetched. */
export function mapStyle(data: MapData, dark: boolean): StyleSpecification {
  const colors = dark ? DARK : LIGHT
  return {
    version: 8,
    sources: {
      areas: { type: 'geojson', data: data.areas },
      labels: { type: 'geojson', data: data.labels },
      points: {
        type: 'geojson',
        data: data.points,
        cluster: true,
        clusterRadius: 38,
        clusterMaxZoom: 15,
        clusterProperties: { away: ['+', ['get', 'away']] },
      },
      cells: { type: 'geojson', data: data.cells },
    },
    layers: [
      ...areaLayers(colors),
      ...clusterLayers(colors, 'points', 'cluster'),
      ...clusterLayers(colors, 'cells', 'cell'),
      ...pointLayers(colors),
    ],
  }
}

function areaLayers(colors: typeof LIGHT): LayerSpecification[] {
  return [
    { id: 'ground', type: 'background', paint: { 'background-color': colors.ground } },
    {
      id: 'area',
      type: 'fill',
      source: 'areas',
      paint: { 'fill-color': colors.area, 'fill-opacity': byKind(0.5, 0.4, 0.7) },
    },
    {
      id: 'area-line',
      type: 'line',
      source: 'areas',
      layout: { 'line-join': 'round' },
      paint: {
        'line-color': colors.line,
        'line-width': byKind(3, 2, 0.9),
        'line-opacity': byKind(0.9, 0.8, 0.7),
      },
    },
    {
      id: 'area-name',
      type: 'symbol',
      source: 'labels',
      filter: ['!=', ['get', 'kind'], 'district'],
      layout: {
        'text-field': ['get', 'name'],
        'text-font': FONT,
        'text-size': byKind(16, 15, 12),
        'symbol-sort-key': byKind(0, 1, 2),
        'text-padding': 6,
      },
      paint: {
        'text-color': colors.text,
        'text-opacity': byKind(0.9, 0.9, 0.75),
        'text-halo-color': colors.halo,
        'text-halo-width': 1.5,
      },
    },
  ]
}

/** Of points that the map gathers itself, or that were counted by cell. */
function clusterLayers(
  colors: typeof LIGHT,
  source: 'points' | 'cells',
  name: string,
): LayerSpecification[] {
  return [
    {
      id: name,
      type: 'circle',
      source,
      filter: ['has', 'point_count'],
      paint: {
        'circle-color': colors.accent,
        'circle-radius': ['step', ['get', 'point_count'], 13, 10, 16, 100, 20, 1000, 25, 10000, 30],
        'circle-stroke-width': 3,
        'circle-stroke-color': ['case', ['>', ['get', 'away'], 0], colors.fault, colors.surface],
      },
    },
    {
      id: `${name}-count`,
      type: 'symbol',
      source,
      filter: ['has', 'point_count'],
      layout: {
        'text-field': ['to-string', ['get', 'point_count']],
        'text-font': FONT,
        'text-size': 12,
        'text-allow-overlap': true,
      },
      paint: { 'text-color': colors.accentText },
    },
  ]
}

function pointLayers(colors: typeof LIGHT): LayerSpecification[] {
  const status = (online: string, fault: string, other: string): ExpressionSpecification => [
    'match',
    ['get', 'status'],
    'online',
    online,
    'fault',
    fault,
    other,
  ]
  return [
    {
      id: 'point',
      type: 'circle',
      source: 'points',
      filter: ['!', ['has', 'point_count']],
      paint: {
        'circle-radius': 7,
        'circle-color': status(colors.online, colors.fault, colors.surface),
        'circle-stroke-width': 2,
        'circle-stroke-color': status(colors.surface, colors.surface, colors.offline),
      },
    },
    {
      id: 'point-name',
      type: 'symbol',
      source: 'points',
      minzoom: 14,
      filter: ['!', ['has', 'point_count']],
      layout: {
        'text-field': ['get', 'name'],
        'text-font': FONT,
        'text-size': 12,
        'text-anchor': 'top',
        'text-offset': [0, 0.9],
        'text-max-width': 9,
      },
      paint: {
        'text-color': colors.text,
        'text-halo-color': colors.halo,
        'text-halo-width': 1.4,
      },
    },
  ]
}
