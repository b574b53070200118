import { GeoJSONSource, Map as MapLibre, NavigationControl, ScaleControl, setWorkerUrl } from 'maplibre-gl'
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?url'
import { onBeforeUnmount, onMounted, ref, watch, type Ref } from 'vue'
import type { Bounds } from './geo'
import { mapStyle, type MapData } from './style'

export interface MapEvents {
  point(id: string): void
  moved(bbox: string, zoom: number): void
}

// The worker is a file of ours: no blob, no other host.
setWorkerUrl(workerUrl)

/** What the map shows as `west,south,east,north`, within the range of coordinates. */
function inView(map: MapLibre): string {
  const bounds = map.getBounds()
  const [west, east] = [Math.max(-180, bounds.getWest()), Math.min(180, bounds.getEast())]
  const [south, north] = [Math.max(-90, bounds.getSouth()), Math.min(90, bounds.getNorth())]
  return [west, south, east, north].map((deg) => deg.toFixed(6)).join(',')
}

/** A MapLibre map in `element` that shows `data` and follows the appearance. */
export function useMap(
  element: Ref<HTMLElement | null>,
  data: Ref<MapData>,
  dark: Ref<boolean>,
  events: MapEvents,
) {
  const failed = ref(false)
  const ready = ref(false)
  let map: MapLibre | null = null

  onMounted(() => {
    if (!element.value) return
    try {
      map = create(element.value)
    } catch {
      failed.value = true
    }
  })
  onBeforeUnmount(() => {
    map?.remove()
    map = null
  })

  function create(container: HTMLElement): MapLibre {
    const created = new MapLibre({
      container,
      style: mapStyle(data.value, dark.value),
      center: [104, 35],
      zoom: 3,
      attributionControl: false,
      pitchWithRotate: false,
      dragRotate: false,
    })
    created.touchZoomRotate.disableRotation()
    created.addControl(new NavigationControl({ showCompass: false }), 'top-right')
    created.addControl(new ScaleControl({}), 'bottom-left')
    created.on('load', () => (ready.value = true))
    created.on('moveend', () => events.moved(inView(created), created.getZoom()))
    created.on('click', 'point', ({ features }) => {
      const id: unknown = features?.[0]?.properties.id
      if (typeof id === 'string') events.point(id)
    })
    created.on('click', 'cluster', async ({ features }) => {
      const feature = features?.[0]
      const source = created.getSource('points')
      if (feature?.geometry.type !== 'Point' || !(source instanceof GeoJSONSource)) return
      const zoom = await source.getClusterExpansionZoom(Number(feature.properties.cluster_id))
      const [longitude = 0, latitude = 0] = feature.geometry.coordinates
      created.easeTo({ center: [longitude, latitude], zoom })
    })
    created.on('click', 'cell', ({ lngLat }) => {
      created.easeTo({ center: lngLat, zoom: created.getZoom() + 2 })
    })
    for (const layer of ['point', 'cluster', 'cell']) {
      created.on('mouseenter', layer, () => (created.getCanvas().style.cursor = 'pointer'))
      created.on('mouseleave', layer, () => (created.getCanvas().style.cursor = ''))
    }
    return created
  }

  function set(name: keyof MapData): void {
    const source = map?.getSource(name)
    if (source instanceof GeoJSONSource) void source.setData(data.value[name])
  }

  watch(() => [data.value.areas, data.value.labels, ready.value], () => {
    set('areas')
    set('labels')
  })
  watch(() => [data.value.points, ready.value], () => set('points'))
  watch(() => [data.value.cells, ready.value], () => set('cells'))
  watch(dark, () => map?.setStyle(mapStyle(data.value, dark.value)))

  function fit(bounds: Bounds): void {
    map?.fitBounds(bounds, { padding: 40, maxZoom: 16, animate: false })
  }

  return { failed, ready, fit }
}
