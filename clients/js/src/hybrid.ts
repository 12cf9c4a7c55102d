import type { Environment, Timer } from './environment.js'

export interface HybridOptions {
  /** Silence after which a poll is due, and the rhythm while it stays silent, ms. */
  pollMs: number
  /** Polls that find nothing become rarer: ×factor each time, up to maxMs. Off without it. */
  backoff: { factor: number; maxMs: number } | undefined
  /** However busy the socket is with other runs, this run is looked after at least so often, ms. */
  othersMaxMs: number
}

export const HYBRID_DEFAULTS: HybridOptions = { pollMs: 4000, backoff: undefined, othersMaxMs: 30_000 }

/**
 * When to poll beside a socket: not at all while messages come, every pollMs while none do.
 *
 * It knows nothing of sockets or requests. activity() pushes the next poll away, stop() ends it; a poll
 * that fails or hangs changes nothing, the next one is due all the same, and two never run at once.
 */
export class Hybrid {
  readonly #env: Environment
  readonly #options: HybridOptions
  readonly #poll: () => Promise<boolean>
  #interval: number
  #timer: Timer
  #polling = false
  #lastOwn = 0
  #running = false

  /** `poll` resolves to whether it brought news. */
  constructor(env: Environment, options: HybridOptions, poll: () => Promise<boolean>) {
    this.#env = env
    this.#options = options
    this.#poll = poll
    this.#interval = options.pollMs
  }

  start(): void {
    this.#running = true
    this.activity(true)
  }

  stop(): void {
    this.#running = false
    this.#env.clearTimeout(this.#timer)
  }

  /** A message came over the socket; `own`: of what is polled for, not merely beside it. */
  activity(own: boolean): void {
    if (!this.#running) return
    const { pollMs, othersMaxMs } = this.#options
    const now = this.#env.now()
    if (own) this.#lastOwn = now
    this.#interval = pollMs
    this.#schedule(own ? pollMs : Math.max(0, Math.min(pollMs, this.#lastOwn + othersMaxMs - now)))
  }

  /** There is reason to believe that something was missed. */
  pollNow(): void {
    if (!this.#running) return
    this.#interval = this.#options.pollMs
    this.#schedule(0)
  }

  #schedule(ms: number): void {
    this.#env.clearTimeout(this.#timer)
    this.#timer = this.#env.setTimeout(() => this.#due(), ms)
  }

  #due(): void {
    const { backoff, pollMs } = this.#options
    this.#lastOwn = this.#env.now()
    if (backoff) this.#interval = Math.min(backoff.maxMs, this.#interval * backoff.factor)
    this.#schedule(this.#interval)
    if (this.#polling) return
    this.#polling = true
    this.#poll()
      .then((news) => {
        if (!news || !backoff || !this.#running) return
        this.#interval = pollMs
        this.#schedule(pollMs)
      })
      .catch(() => {})
      .finally(() => { this.#polling = false })
  }
}
