import { inject, reactive, type App, type InjectionKey } from 'vue'
import { Api } from './api/api'
import { EventStream } from './api/stream'
import type { Point } from './api/types'
import { createEventLog, type EventLog } from './events/log'
import { createDuty, type Duty } from './live/duty'
import { createPatrol, type Patrol } from './live/patrol'
import { createPurpose, type Purpose } from './live/purpose'
import { createWall, type Wall } from './live/wall'
import { detectAbilities, type Abilities } from './live/ways'
import { createOrganizations, type Organizations } from './organizations/store'
import { applyStatus, type StatusMessage } from './points/list'
import { createPointNames, type PointNames } from './points/names'
import { createRadio, type Radio } from './radio/store'
import { createSession, type Session } from './session/session'

/** Everything that lives as long as the page: made once, handed down by injection. */
export interface Console {
  api: Api
  session: Session
  stream: EventStream
  organizations: Organizations
  pointNames: PointNames
  radio: Radio
  events: EventLog
  wall: Wall
  patrol: Patrol
  duty: Duty
  purpose: Purpose
  abilities: () => Promise<Abilities>
  /** The camera that is being dragged; from: the place it stands in, null for the list. */
  pointDrag: { point: Point | null; from: number | null }
}

const key: InjectionKey<Console> = Symbol('console')

export function createConsole(): Console {
  const api = new Api()
  const session = createSession(api)
  const stream = new EventStream(session.revive)
  api.http.revive = session.revive
  const organizations = createOrganizations(api, stream)
  const pointNames = createPointNames(api)
  const radio = createRadio(api, stream)
  const events = createEventLog(api, stream)
  const wall = createWall()
  stream.on('point', (data) => void applyStatus(wall.state.places, data as StatusMessage))
  const patrol = createPatrol()
  const duty = createDuty(api, patrol)
  const purpose = createPurpose(sessionStorage)
  let detected: Promise<Abilities> | null = null
  const abilities = () => (detected ??= detectAbilities())
  session.onEnd(() => {
    stream.close()
    patrol.stop()
    for (const part of [organizations, pointNames, radio, events, wall, duty, purpose]) part.clear()
  })
  const pointDrag = reactive<Console['pointDrag']>({ point: null, from: null })
  const parts = { api, session, stream, organizations, pointNames, radio, events }
  return { ...parts, wall, patrol, duty, purpose, abilities, pointDrag }
}

export function provideConsole(app: App, console: Console): void {
  app.provide(key, console)
}

export function useConsole(): Console {
  const console = inject(key)
  if (!console) throw new Error('no console above this component')
  return console
}
