/** The shapes of the HTTP contract, as far as the console uses them. */
import type { MultiPolygon, Polygon as GeoPolygon } from 'geojson'

export interface Page<T> {
  items: T[]
  next: string | null
  total: number
}

export interface OrganizationRef {
  id: string
  path: string
  name: string
}

export type Role = 'viewer' | 'dispatcher' | 'integrator' | 'auditor' | 'clear_view' | 'admin'

export interface Me {
  id: string
  name: string
  roles: { role: Role; organization: OrganizationRef | null }[]
}

export interface Counts {
  points: number
  online: number
  offline: number
  fault: number
  unassigned: number
}

export interface Organization {
  id: string
  version: number
  kind: 'district' | 'station' | 'workroom'
  name: string
  slug: string
  path: string
  parent: string | null
  jurisdiction: GeoPolygon | MultiPolygon | null
  purpose_required: boolean
  counts: Counts
}

/** One of: speeds for a time, a preset by name, or stop. */
export interface PtzMove {
  pan?: number
  tilt?: number
  zoom?: number
  duration_ms?: number
  preset?: string
  stop?: boolean
}

export interface Preset {
  name: string
}

export type PointStatus = 'online' | 'offline' | 'fault' | 'unknown'

export interface StreamProfile {
  name: string
  codec: string
  width: number
  height: number
  fps: number
}

export interface Point {
  id: string
  code: string | null
  name: string
  place: string | null
  organization: OrganizationRef
  assigned_by: 'explicit' | 'polygon' | 'none'
  longitude: number | null
  latitude: number | null
  source: { device: string; address: string } | null
  profiles: StreamProfile[]
  status: PointStatus
  status_since: string | null
  status_reason: string | null
  capabilities: string[]
  masked: boolean
  shared: { share: string; ends_at: string } | null
}

/** A layout that somebody saved. points: by tile, null for an empty one. */
export interface SavedWall {
  id: string
  version: number
  name: string
  tiles: 1 | 4 | 9 | 16 | 25
  points: (string | null)[]
  hidden: number
}

/** hidden: points left out, as this user may not see them. */
export interface Tour {
  id: string
  version: number
  name: string
  organization: OrganizationRef
  dwell_s: number
  /** Whether it is to be watched now. */
  on_duty: boolean
  groups: { name: string; points: string[]; hidden: number }[]
  hidden: number
}

export interface TourChanges {
  name?: string
  dwell_s?: number
  on_duty?: boolean
  groups?: { name: string; points: string[] }[]
}

/** Corners as shares of the frame, from its upper left. */
export type Polygon = [number, number][]

/** presets: by name, of a camera that moves. */
export interface Masks {
  version: number
  masked: boolean
  movable: boolean
  polygons: Polygon[]
  presets: Record<string, Polygon[]>
}

export interface Quality {
  outcome: string | null
  at: string | null
  reason: string | null
  faults: string[]
  since: string | null
}

export type ProfileName = 'main' | 'sub'

export interface LiveTicket {
  ticket: string
  expires_at: string
  profile: string
  codec: string | null
  width: number
  height: number
  urls: { frames?: string; fmp4?: string; mjpeg?: string; whep?: string }
  /** Null where no media server is set; token: null where it cannot be used for this view. */
  media_server?: { token: string | null; reason: string } | null
}

export type Floor = 'idle' | 'taken' | 'busy'

export interface ChannelState {
  floor: Floor
  talker: string | null
  talker_alias: string | null
  since: string | null
  emergency: boolean
  health: string | null
  health_reason?: string
}

export interface Channel {
  id: string
  system: string | { id: string; name: string }
  address: string
  name: string
  organization: OrganizationRef | string
  kind: 'trunk' | 'ptt'
  state: ChannelState | null
}

export interface System {
  id: string
  name: string
  adapter?: string
  enabled?: boolean
  state?: SystemState | null
}

/** As its agent says; node: null while no agent does, and then nothing else is known. */
export interface SystemState {
  node: string | null
  state: 'online' | 'offline' | 'unknown'
  reason: string
  since: string | null
  last_heard: string | null
  alarms: SystemAlarm[]
  /** Null where nothing waits on disk. */
  outbox: SystemOutbox | null
}

export interface SystemAlarm {
  kind: string
  reason: string
  since: string
}

/** What the journal has not stored yet; lost: in this life of the agent. */
export interface SystemOutbox {
  waiting: number
  oldest_s: number
  lost: number
  late: number
  fault: string
}

export type Direction = 'both' | 'talk' | 'listen'
export type PatchVoice = 'frames' | 'silence' | 'events'

export interface PatchMember {
  channel: string
  direction: Direction
  priority: number
  /** A dispatcher lets it listen only, for now. */
  muted?: boolean
}

export interface PatchMemberState {
  channel: string
  keyed: boolean
  missed: boolean | string | null
  suspended: boolean
  /** Whether voice passes between this member and the others that it may talk to or hear. */
  voice: 'all' | 'some' | 'none'
  health: string | null
}

/** channel: null for a dispatcher, who talks from no channel. */
export interface PatchTalker {
  channel: string | null
  talker: string | null
  talker_alias?: string | null
}

export interface PatchState {
  floor: Floor
  holder: PatchTalker | null
  queue: PatchTalker[]
  members: PatchMemberState[]
  emergency: boolean
  since: string | null
}

/** On from `from` to the next `to`; days: 1 Monday to 7 Sunday on which that begins, else all. */
export interface Schedule {
  timezone: string
  from: string
  to: string
  days?: number[]
}

export type CallType = 'voice' | 'emergency' | 'dispatch'

/** allow: empty for all; deny goes first. */
export interface Listed<T = string> {
  allow: T[]
  deny: T[]
}

export interface Patch {
  id: string
  version: number
  name: string
  organization: OrganizationRef
  enabled: boolean
  hang_s: number
  max_talk_s: number
  queue: boolean
  queue_timeout_s: number
  revoke_grace_s: number
  penalty_s: number
  emergency_hold_s: number
  encrypted: boolean
  /** By id, or `{system id}/{address}`. */
  units: Listed
  calls: Listed<CallType>
  until: string | null
  schedule: Schedule | null
  voice: PatchVoice
  members: PatchMember[]
  state: PatchState | null
}

/** What one may send to make or change a patch. organization: id or path. */
export type PatchChanges = Partial<Omit<Patch, 'id' | 'version' | 'organization' | 'state'>> & {
  organization?: string
}

/** What became of one member when it was keyed for a moment. */
export interface MemberTest {
  channel: string
  /** `done`, or why not: `busy`, `failed`, `stopped`, `no answer`. */
  outcome: string
  reason: string
  delay_ms: number | null
  /** It came back on its own channel after so long. */
  echo_s: number | null
  /** It came out somewhere else. */
  loops_to: { channel: string; delay_s: number }[]
}

export interface Unit {
  id: string
  alias: string
  addresses: { system: string; address: string }[]
}

export interface TalkAnswer {
  transmission: string
  /** `released`: it had the floor and lost it. */
  state: 'granted' | 'queued' | 'denied' | 'released'
  position: number | null
  reason: string | null
}

/** A CloudEvent of the bus, as the event stream and the history give it. */
export interface BusEvent {
  id: string
  type: string
  source?: string
  subject: string
  time: string
  data: Record<string, unknown>
  /** Of an alarm that somebody saw to. */
  acknowledgedat?: string
  acknowledgedby?: string
}

/** Points of a cell of the map, `bbox` as west, south, east, north. */
export interface Cluster {
  points: number
  longitude: number
  latitude: number
  bbox: [number, number, number, number]
}
