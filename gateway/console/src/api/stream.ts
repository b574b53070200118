import { ref, type Ref } from 'vue'
import type { Revive } from './http'
import { pause } from './pause'
import { problemOf } from './problem'
import { SseParser, type SseMessage } from './sse'

export type StreamState = 'closed' | 'connecting' | 'open' | 'lost'
type Listener = (data: unknown) => void

const SILENCE_MS = 60_000
const BACKOFF_MS = [500, 1000, 2000, 5000, 10_000]

/**
 * `GET /events/stream`, read with fetch rather than EventSource: that one shows neither the 401
 * of a session that ended nor resumes with `Last-Event-ID` after an error answer.
 */
export class EventStream {
  readonly state: Ref<StreamState> = ref('closed')
  private readonly listeners = new Map<string, Set<Listener>>()
  private readonly onOpen = new Set<() => void>()
  private lastEventId: string | null = null
  private stop: AbortController | null = null

  constructor(
    private readonly revive: Revive,
    private readonly path = '/api/v1/events/stream',
  ) {}

  /** Calls `listener` with the parsed data of each message named `event`; returns the undo. */
  on(event: string, listener: Listener): () => void {
    const set = this.listeners.get(event) ?? new Set()
    this.listeners.set(event, set.add(listener))
    return () => set.delete(listener)
  }

  /** Calls `listener` on each connection: what was missed must be loaded again. */
  whenOpened(listener: () => void): () => void {
    this.onOpen.add(listener)
    return () => this.onOpen.delete(listener)
  }

  open(): void {
    if (this.stop) return
    this.stop = new AbortController()
    void this.run(this.stop)
  }

  close(): void {
    this.stop?.abort()
    this.stop = null
    this.lastEventId = null
    this.state.value = 'closed'
  }

  private async run(stop: AbortController): Promise<void> {
    let attempt = 0
    while (!stop.signal.aborted) {
      if (this.state.value !== 'lost') this.state.value = 'connecting'
      try {
        await this.read(stop, () => (attempt = 0))
      } catch {
        // Told by the state; the loop tries again.
      }
      if (stop.signal.aborted) return
      this.state.value = 'lost'
      const wait = BACKOFF_MS[Math.min(attempt++, BACKOFF_MS.length - 1)] ?? 1000
      await pause(wait * (0.75 + Math.random() / 2), stop.signal)
    }
  }

  private async read(stop: AbortController, opened: () => void): Promise<void> {
    const quiet = new AbortController()
    const signal = AbortSignal.any([stop.signal, quiet.signal])
    const headers: Record<string, string> = { Accept: 'text/event-stream' }
    if (this.lastEventId) headers['Last-Event-ID'] = this.lastEventId
    const response = await fetch(this.path, { headers, credentials: 'same-origin', signal })
    if (!response.ok || !response.body) {
      // When the session is over, its end closes this stream.
      if (response.status === 401) await this.revive()
      throw await problemOf(response)
    }
    opened()
    this.state.value = 'open'
    this.onOpen.forEach((listener) => listener())
    const parser = new SseParser()
    parser.lastEventId = this.lastEventId
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    let timer = setTimeout(() => quiet.abort(), SILENCE_MS)
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        clearTimeout(timer)
        timer = setTimeout(() => quiet.abort(), SILENCE_MS)
        for (const message of parser.push(value)) this.deliver(message)
      }
    } finally {
      clearTimeout(timer)
      quiet.abort()
    }
  }

  private deliver(message: SseMessage): void {
    this.lastEventId = message.id
    let data: unknown
    try {
      data = JSON.parse(message.data)
    } catch {
      return // not of this contract; the next one is read
    }
    this.listeners.get(message.event)?.forEach((listener) => listener(data))
  }
}
