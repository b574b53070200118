/** Runs at most `most` pieces of work at once; what is no longer wanted before its turn is left. */
export class Queue {
  private running = 0
  private readonly waiting = new Set<() => void>()

  constructor(private readonly most: number) {}

  /** Work that begins as soon as there is room. Ends as the work does, or at once when aborted. */
  async run<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.room(signal)
    try {
      signal.throwIfAborted()
      return await work(signal)
    } finally {
      this.running -= 1
      const [next] = this.waiting
      if (next) {
        this.waiting.delete(next)
        next()
      }
    }
  }

  private room(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    if (this.running < this.most) {
      this.running += 1
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener('abort', gone)
        this.running += 1
        resolve()
      }
      const gone = () => {
        this.waiting.delete(begin)
        reject(signal.reason as Error)
      }
      this.waiting.add(begin)
      signal.addEventListener('abort', gone, { once: true })
    })
  }
}
