/** One message of a server-sent event stream. */
export interface SseMessage {
  event: string
  data: string
  id: string | null
}

/**
 * Cuts the text of a `text/event-stream` into messages, in whatever pieces it arrives.
 * Source: WHATWG HTML, section 9.2.6 (interpreting an event stream).
 */
export class SseParser {
  private rest = ''
  private event = ''
  private data: string[] = []
  private afterCr = false
  private started = false
  lastEventId: string | null = null
  retryMs: number | null = null

  push(text: string): SseMessage[] {
    if (!this.started && text) {
      this.started = true
      if (text.startsWith('\uFEFF')) text = text.slice(1)
    }
    if (text === '') return []
    // A CR that ended the last piece may have its LF at the head of this one.
    const head = this.afterCr && text.startsWith('\n') ? 1 : 0
    this.afterCr = text.endsWith('\r')
    text = text.slice(head)
    const lines = (this.rest + text).split(/\r\n|\n|\r/)
    this.rest = lines.pop() ?? ''
    return lines.flatMap((line) => this.line(line))
  }

  private line(line: string): SseMessage[] {
    if (line === '') return this.dispatch()
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') this.event = value
    else if (field === 'data') this.data.push(value)
    else if (field === 'id' && !value.includes('\0')) this.lastEventId = value
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value)
    return []
  }

  private dispatch(): SseMessage[] {
    const { event, data } = this
    this.event = ''
    this.data = []
    if (data.length === 0) return []
    return [{ event: event || 'message', data: data.join('\n'), id: this.lastEventId }]
  }
}
