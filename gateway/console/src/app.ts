import { inject, type App, type InjectionKey } from 'vue'
import { Api } from './api/api'
import { EventStream } from './api/stream'
import { createEventLog, type EventLog } from './events/log'
import { createWall, type Wall } from './live/wall'
import { createOrganizations, type Organizations } from './organizations/store'
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
  session.onEnd(() => {
    stream.close()
    for (const part of [organizations, pointNames, radio, events, wall]) part.clear()
  })
  return { api, session, stream, organizations, pointNames, radio, events, wall }
}

export function provideConsole(app: App, console: Console): void {
  app.provide(key, console)
}

export function useConsole(): Console {
  const console = inject(key)
  if (!console) throw new Error('no console above this component')
  return console
}
