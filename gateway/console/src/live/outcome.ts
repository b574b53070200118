import type { Problem } from '@/api/problem'

/** How one attempt at a stream came out: for good, for now, or only this way of playing it. */
export type Outcome =
  | { kind: 'ended'; reason: string; detail: string | null }
  | { kind: 'retry'; reason: string; detail: string | null; waitMs: number }
  | { kind: 'next' }

const SLOW_RETRY_MS = 5000
const BACKOFF_MS = [400, 800, 1600, 2500, 3000]

/**
 * How long to wait before a further attempt, in ms. attempt: 0 for the first; chance: 0..1. Never
 * longer than 3 s: a wall is back within 10 s of its gateway. Spread, so that not all tiles of all
 * walls ask at the same moment.
 */
export function backoffMs(attempt: number, chance: number): number {
  const most = BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)] ?? 1000
  return most * (0.4 + 0.6 * chance)
}

/** What follows from a refused `POST /points/{id}/live`. */
export function afterProblem(problem: Problem): Outcome {
  const detail = problem.detail ?? (problem.title || null)
  const ended = (reason: string): Outcome => ({ kind: 'ended', reason, detail })
  switch (problem.status) {
    case 401:
      return ended('signed_out')
    case 403:
      return ended('forbidden')
    case 404:
      return ended('not_found')
    case 409:
      return ended('no_source')
    case 422:
      return ended(problem.concerns('purpose') ? 'purpose' : 'refused')
    case 429:
    case 503: {
      const waitMs = (problem.retryAfterS ?? SLOW_RETRY_MS / 1000) * 1000
      return { kind: 'retry', reason: 'limit', detail, waitMs }
    }
    case 0:
      return { kind: 'retry', reason: 'network', detail: null, waitMs: 0 }
    default:
      return { kind: 'retry', reason: 'gateway', detail, waitMs: 2000 }
  }
}

/** What follows from the end of a live WebSocket. ended: what its `ended` state said, if any. */
export function afterClose(code: number, text: string, ended: string | null = null): Outcome {
  const detail = ended || text || null
  switch (code) {
    case 4401:
      return { kind: 'retry', reason: 'ticket', detail, waitMs: 0 }
    case 4403:
      return { kind: 'ended', reason: 'right_lost', detail }
    case 4404:
      return { kind: 'ended', reason: 'no_source', detail }
    case 4429:
      return { kind: 'retry', reason: 'limit', detail, waitMs: SLOW_RETRY_MS }
    case 1001:
    case 1012:
      return { kind: 'retry', reason: 'restart', detail: null, waitMs: 0 }
    case 1011:
    case 1013:
      return { kind: 'retry', reason: 'gateway', detail, waitMs: SLOW_RETRY_MS }
    default:
      if (ended !== null) return { kind: 'ended', reason: 'ended', detail }
      return { kind: 'retry', reason: 'network', detail, waitMs: 0 }
  }
}
