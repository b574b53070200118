/** An error answer (RFC 9457), or a request that got no answer at all (`status` 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string | null = null,
    readonly retryAfterS: number | null = null,
    readonly errors: unknown = null,
    /** What a conflict is with, '' where that is not told. */
    readonly other = '',
  ) {
    super(detail ? `${title}: ${detail}` : title)
  }

  /** True when a located reason, or the text, speaks of this field. */
  concerns(field: string): boolean {
    return `${JSON.stringify(this.errors ?? '')} ${this.title} ${this.detail ?? ''}`
      .toLowerCase()
      .includes(field)
  }
}

export function unreachable(): Problem {
  return new Problem(0, '')
}

export async function problemOf(response: Response): Promise<Problem> {
  const retryAfterS = Number(response.headers.get('Retry-After')) || null
  const body: unknown = await response.json().catch(() => null)
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  const { title, detail, errors, reasons, other } = fields
  return new Problem(
    response.status,
    typeof title === 'string' ? title : response.statusText || String(response.status),
    typeof detail === 'string' ? detail : null,
    retryAfterS,
    errors ?? reasons ?? null,
    typeof other === 'string' ? other : '',
  )
}

/** What to say of an error; empty where there was no answer at all. */
export function reasonOf(error: unknown): string {
  return error instanceof Problem ? (error.detail ?? error.title) : String(error)
}
