import { Http, type Query } from './http'
import type {
  Cluster,
  BusEvent,
  Channel,
  LiveTicket,
  Masks,
  Me,
  MemberTest,
  Organization,
  Page,
  Patch,
  PatchChanges,
  Point,
  Preset,
  ProfileName,
  Quality,
  SavedWall,
  PtzMove,
  System,
  TalkAnswer,
  Tour,
  TourChanges,
  Unit,
} from './types'

export interface PointFilter {
  organization?: string | null
  q?: string
  status?: string
  bbox?: string
}

const PAGE = 500

function presetPath(id: string, name: string): string {
  return `/points/${encodeURIComponent(id)}/presets/${encodeURIComponent(name)}`
}

/** Every request that the console makes, in one place. */
export class Api {
  constructor(readonly http: Http = new Http()) {}

  signIn(name: string, password: string) {
    return this.http.post<{ expires_in?: number }>('/auth/login', { body: { name, password } })
  }

  refreshSession() {
    return this.http.post<{ expires_in?: number } | null>('/auth/refresh')
  }

  signOut() {
    return this.http.post<null>('/auth/logout')
  }

  me() {
    return this.http.get<Me>('/me')
  }

  organizations() {
    return this.all<Organization>('/organizations', {})
  }

  changeOrganization(id: string, version: number, body: { purpose_required: boolean }) {
    return this.http.patch<Organization>(`/organizations/${id}`, { body, version })
  }

  points(filter: PointFilter, limit = 50, cursor: string | null = null, signal?: AbortSignal) {
    const query = { ...filter, limit, cursor }
    return this.http.get<Page<Point>>('/points', signal ? { query, signal } : { query })
  }

  /** How many points there are in each cell of a map. */
  clusters(zoom: number, bbox: string, signal?: AbortSignal) {
    const query = { zoom, bbox }
    return this.http.get<{ items: Cluster[]; total: number }>(
      '/points/clusters',
      signal ? { query, signal } : { query },
    )
  }

  point(id: string) {
    return this.http.get<Point>(`/points/${encodeURIComponent(id)}`)
  }

  live(id: string, profile: ProfileName, purpose: string | null, signal?: AbortSignal) {
    const body = purpose ? { profile, purpose } : { profile }
    const path = `/points/${encodeURIComponent(id)}/live`
    return this.http.post<LiveTicket>(path, signal ? { body, signal } : { body })
  }

  async snapshot(id: string, purpose: string | null, width?: number): Promise<Blob> {
    const path = `/points/${encodeURIComponent(id)}/snapshot.jpg`
    return (await this.http.send('GET', path, { query: { purpose, width } })).blob()
  }

  /** A small picture of a point, and when it was taken. */
  async thumbnail(id: string, purpose: string | null, signal: AbortSignal) {
    const path = `/points/${encodeURIComponent(id)}/thumbnail.jpg`
    const response = await this.http.send('GET', path, { query: { purpose }, signal })
    return { picture: await response.blob(), at: response.headers.get('Hutong-Picture-Time') }
  }

  quality(id: string) {
    return this.http.get<Quality>(`/points/${encodeURIComponent(id)}/quality`)
  }

  masks(id: string) {
    return this.http.get<Masks>(`/points/${encodeURIComponent(id)}/masks`)
  }

  putMasks(id: string, body: Partial<Pick<Masks, 'polygons' | 'presets'>>, version: number) {
    return this.http.put<Masks>(`/points/${encodeURIComponent(id)}/masks`, { body, version })
  }

  walls() {
    return this.all<SavedWall>('/walls', {})
  }

  createWall(body: Pick<SavedWall, 'name' | 'tiles' | 'points'>) {
    return this.http.post<SavedWall>('/walls', { body })
  }

  updateWall(id: string, version: number, body: Partial<Pick<SavedWall, 'tiles' | 'points'>>) {
    return this.http.patch<SavedWall>(`/walls/${id}`, { body, version })
  }

  async deleteWall(id: string): Promise<void> {
    await this.http.send('DELETE', `/walls/${id}`)
  }

  tours() {
    return this.all<Tour>('/tours', {})
  }

  tour(id: string) {
    return this.http.get<Tour>(`/tours/${id}`)
  }

  createTour(body: { name: string; organization: string; dwell_s: number; groups: unknown }) {
    return this.http.post<Tour>('/tours', { body })
  }

  updateTour(id: string, version: number, body: TourChanges) {
    return this.http.patch<Tour>(`/tours/${id}`, { body, version })
  }

  async deleteTour(id: string): Promise<void> {
    await this.http.send('DELETE', `/tours/${id}`)
  }

  /** Ends when the camera has stopped; closing the request stops it. */
  movePtz(id: string, body: PtzMove, signal?: AbortSignal, keepalive = false) {
    const path = `/points/${encodeURIComponent(id)}/ptz`
    return this.http.post<unknown>(path, signal ? { body, keepalive, signal } : { body, keepalive })
  }

  presets(id: string) {
    return this.http.get<Page<Preset>>(`/points/${encodeURIComponent(id)}/presets`)
  }

  async putPreset(id: string, name: string): Promise<void> {
    await this.http.send('PUT', presetPath(id, name))
  }

  async deletePreset(id: string, name: string): Promise<void> {
    await this.http.send('DELETE', presetPath(id, name))
  }

  systems() {
    return this.all<System>('/systems', {})
  }

  channels() {
    return this.all<Channel>('/channels', {})
  }

  patches() {
    return this.all<Patch>('/patches', {})
  }

  patch(id: string) {
    return this.http.get<Patch>(`/patches/${encodeURIComponent(id)}`)
  }

  createPatch(body: PatchChanges) {
    return this.http.post<Patch>('/patches', { body })
  }

  updatePatch(id: string, version: number, body: PatchChanges) {
    return this.http.patch<Patch>(`/patches/${encodeURIComponent(id)}`, { body, version })
  }

  async deletePatch(id: string, version: number): Promise<void> {
    await this.http.send('DELETE', `/patches/${encodeURIComponent(id)}`, { version })
  }

  /** Keys each member for a moment, which takes some 2 s for each. */
  testPatch(id: string) {
    return this.http.post<{ members: MemberTest[] }>(`/patches/${encodeURIComponent(id)}/test`)
  }

  units(q: string, limit: number, signal: AbortSignal) {
    return this.http.get<Page<Unit>>('/units', { query: { q, limit }, signal })
  }

  unit(id: string) {
    return this.http.get<Unit>(`/units/${encodeURIComponent(id)}`)
  }

  /** keepalive: the request outlives the page, for the release when a tab is closed. */
  talk(id: string, action: 'press' | 'refresh' | 'release', keepalive = false) {
    const path = `/channels/${encodeURIComponent(id)}/talk`
    return this.http.post<TalkAnswer | null>(path, { body: { action }, keepalive })
  }

  /** Says that we see to an alarm; the event as it is then. */
  acknowledge(id: string) {
    return this.http.post<BusEvent>(`/alarms/${encodeURIComponent(id)}/acknowledge`, {})
  }

  events(query: Query) {
    return this.http.get<Page<BusEvent>>('/events', { query })
  }

  /** All pages of a list that is known to be short, at most `most` items. */
  async all<T>(path: string, query: Query, most = 5000, signal?: AbortSignal): Promise<T[]> {
    const items: T[] = []
    let cursor: string | null = null
    do {
      const ask = { query: { ...query, limit: PAGE, cursor } }
      const page: Page<T> = await this.http.get(path, signal ? { ...ask, signal } : ask)
      items.push(...page.items)
      cursor = page.next
    } while (cursor && items.length < most)
    return items
  }
}
