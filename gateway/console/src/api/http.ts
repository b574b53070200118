import { problemOf, unreachable } from './problem'

export type Query = Record<string, string | number | null | undefined>

export interface Ask {
  query?: Query
  body?: unknown
  signal?: AbortSignal
  keepalive?: boolean
  /** The version that is changed: sent as If-Match. */
  version?: number
}

/** Asked at a 401: true when the session is alive after all, so that trying again can help. */
export type Revive = () => Promise<boolean>

/** Where a 401 speaks of the credentials themselves. */
const PUBLIC = /^\/(auth\/|me$)/

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '')
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString()
  return text ? `${path}?${text}` : path
}

/** Requests to `/api/v1` with the session cookie. Every failure is thrown as a `Problem`. */
export class Http {
  revive: Revive = () => Promise.resolve(false)

  async send(method: string, path: string, ask: Ask = {}): Promise<Response> {
    const response = await this.once(method, path, ask)
    if (response.ok) return response
    const again = response.status === 401 && !PUBLIC.test(path) && (await this.revive())
    const second = again ? await this.once(method, path, ask) : response
    if (second.ok) return second
    throw await problemOf(second)
  }

  private async once(method: string, path: string, ask: Ask): Promise<Response> {
    const init: RequestInit = {
      method,
      credentials: 'same-origin',
      headers: { Accept: 'application/json' },
      signal: ask.signal ?? null,
      keepalive: ask.keepalive ?? false,
    }
    if (ask.body !== undefined) {
      init.body = JSON.stringify(ask.body)
      init.headers = { ...init.headers, 'Content-Type': 'application/json' }
    }
    if (ask.version !== undefined) {
      init.headers = { ...init.headers, 'If-Match': `"${ask.version}"` }
    }
    try {
      return await fetch(`/api/v1${withQuery(path, ask.query)}`, init)
    } catch (error) {
      if (ask.signal?.aborted) throw error
      throw unreachable()
    }
  }

  async get<T>(path: string, ask?: Ask): Promise<T> {
    return (await this.send('GET', path, ask)).json() as Promise<T>
  }

  post<T>(path: string, ask?: Ask): Promise<T> {
    return this.write('POST', path, ask)
  }

  patch<T>(path: string, ask: Ask): Promise<T> {
    return this.write('PATCH', path, ask)
  }

  put<T>(path: string, ask: Ask): Promise<T> {
    return this.write('PUT', path, ask)
  }

  private async write<T>(method: string, path: string, ask?: Ask): Promise<T> {
    const response = await this.send(method, path, ask)
    const text = await response.text()
    return (text ? JSON.parse(text) : null) as T
  }
}
