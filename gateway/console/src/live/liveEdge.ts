// Just behind the newest picture: what is left in the buffer when the next one is due.
const LEAST_RESERVE_S = 0.04
const MOST_RESERVE_S = 1
const STALL_ADDS_S = 0.05
const BETWEEN_STALLS_S = 0.5
const CALM_S = 10
const CALM_KEEPS = 0.8
const LEAST_INTERVAL_S = 0.06
const MOST_INTERVAL_S = 5
const GROWTHS = 9
/** Further behind than this is jumped over; less is caught up by playing faster. */
const JUMP_BEHIND_S = 0.2
const BETWEEN_JUMPS_S = 2
const RATE_STEP = 0.05
const TOLERANCE_S = 0.03
/** A position may come back rounded from the one that was asked for. */
const ROUNDING_S = 0.01
const DRY_S = 0.05
const SETTLING_S = 2

/** What the player has in its newest range, where it plays, and a clock; all in s. */
export interface Playing {
  startS: number
  endS: number
  atS: number
  nowS: number
}

/** seekS: where to go at once, null to stay. rate: how fast to play. */
export interface Move {
  seekS: number | null
  rate: number
}

/**
 * Keeps a position close behind the end of a buffer that grows picture by picture. How close
 * depends on the stream: on how far apart its pictures are, and on how unevenly they come, which
 * shows when the buffer runs dry.
 */
export class LiveEdge {
  private readonly growths: number[] = []
  private reserveS = LEAST_RESERVE_S
  private lastEndS = 0
  private jumpedS = -Infinity
  private begunS = Infinity
  private stalledS = -Infinity
  private calmSinceS = -Infinity
  private rate = 1

  /** How far behind the end the position should be when a picture has just come. */
  get targetS(): number {
    const sorted = [...this.growths].sort((a, b) => a - b)
    const interval = sorted[sorted.length >> 1] ?? 0
    return Math.min(MOST_INTERVAL_S, Math.max(LEAST_INTERVAL_S, interval)) + this.reserveS
  }

  /** It plays no further. When the buffer has run dry, more is kept in it from now on. */
  stalled(nowS: number, aheadS: number): void {
    // A decoder that is late has enough in its buffer: more would only delay what it shows.
    if (aheadS > DRY_S || nowS - this.stalledS < BETWEEN_STALLS_S) return
    // What has just begun or was just moved waits for its picture; that says nothing of the stream.
    if (nowS - this.begunS < SETTLING_S || nowS - this.jumpedS < SETTLING_S) return
    // Once is chance.
    const again = nowS - this.stalledS < CALM_S
    this.stalledS = nowS
    if (again) this.reserveS = Math.min(MOST_RESERVE_S, this.reserveS + STALL_ADDS_S)
    this.calmSinceS = nowS
  }

  /** What to do after the buffer has grown. */
  grown(playing: Playing): Move {
    const { startS, endS, atS, nowS } = playing
    this.begunS = Math.min(this.begunS, nowS)
    if (this.lastEndS > 0 && endS > this.lastEndS) this.note(endS - this.lastEndS)
    this.lastEndS = endS
    if (nowS - this.calmSinceS > CALM_S) {
      this.reserveS = Math.max(LEAST_RESERVE_S, this.reserveS * CALM_KEEPS)
      this.calmSinceS = nowS
    }
    const { targetS } = this
    const seekS = Math.max(startS, endS - targetS)
    // Outside of what there is, nothing plays.
    if (atS < startS - ROUNDING_S || atS > endS + ROUNDING_S) return this.jump(seekS, nowS)
    const behindS = endS - atS - targetS
    const far = behindS > JUMP_BEHIND_S && seekS - atS > ROUNDING_S
    if (far && nowS - this.jumpedS >= BETWEEN_JUMPS_S) return this.jump(seekS, nowS)
    this.rate = this.rateFor(behindS)
    return { seekS: null, rate: this.rate }
  }

  private jump(seekS: number, nowS: number): Move {
    this.jumpedS = nowS
    this.rate = 1
    return { seekS, rate: 1 }
  }

  /** Once changed, the speed stays until the position is right: no swinging to and fro. */
  private rateFor(behindS: number): number {
    if (behindS > TOLERANCE_S) return 1 + RATE_STEP
    if (behindS < -TOLERANCE_S) return 1 - RATE_STEP
    if (this.rate > 1 && behindS > 0) return this.rate
    return this.rate < 1 && behindS < 0 ? this.rate : 1
  }

  private note(growthS: number): void {
    this.growths.push(growthS)
    if (this.growths.length > GROWTHS) this.growths.shift()
  }
}
