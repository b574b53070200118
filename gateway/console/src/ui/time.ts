/** `m:ss` or `h:mm:ss` since an RFC 3339 time; never negative, since clocks differ. */
export function elapsed(since: string | null | undefined, nowMs: number): string {
  const began = since ? Date.parse(since) : NaN
  if (Number.isNaN(began)) return ''
  return duration((nowMs - began) / 1000)
}

/** `m:ss` or `h:mm:ss`; never negative. */
export function duration(length_s: number): string {
  const s = Math.max(0, Math.floor(length_s))
  const two = (n: number) => String(n).padStart(2, '0')
  const [hours, minutes, seconds] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60]
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`
}

/** Local wall-clock time; the date stands before it when it is not today's. */
export function shortTime(time: string | null | undefined, locale: string): string {
  const at = time ? new Date(time) : null
  if (!at || Number.isNaN(at.getTime())) return ''
  const clock: Intl.DateTimeFormatOptions = {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  }
  const today = at.toDateString() === new Date().toDateString()
  return at.toLocaleString(locale, today ? clock : { month: '2-digit', day: '2-digit', ...clock })
}

/** Date and time of day to the minute, with the year: of what lies ahead. */
export function wholeTime(time: string | null | undefined, locale: string): string {
  const at = time ? new Date(time) : null
  if (!at || Number.isNaN(at.getTime())) return ''
  const day: Intl.DateTimeFormatOptions = { year: 'numeric', month: '2-digit', day: '2-digit' }
  return at.toLocaleString(locale, { ...day, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
}
