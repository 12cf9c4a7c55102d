import type { Environment } from './environment.js'

export interface BackoffOptions {
  /** Bound of the first delay, ms. */
  minMs: number
  /** Bound of every delay, ms. */
  maxMs: number
}

/** A hint above this is no hint. */
const HINT_MAX_MS = 60_000

/**
 * Full jitter: the n-th delay is anywhere between nothing and min·2ⁿ. A thousand clients that lost the
 * same server come back spread out, not in step.
 */
export class Backoff {
  #attempt = 0

  constructor(readonly env: Pick<Environment, 'random'>, readonly options: BackoffOptions) {}

  /** ms until the next attempt, never before the server's hint. */
  next(hintMs = 0): number {
    const { minMs, maxMs } = this.options
    const bound = Math.min(maxMs, minMs * 2 ** Math.min(this.#attempt, 30))
    this.#attempt++
    return Math.min(hintMs, HINT_MAX_MS) + this.env.random() * bound
  }

  reset(): void {
    this.#attempt = 0
  }
}

/** N of the close reason `retry_ms=N`; 0 without one. */
export function retryHint(reason: string | undefined): number {
  const found = /(?:^|[\s;,])retry_ms=(\d{1,7})(?:$|[\s;,])/.exec(reason ?? '')
  return found ? Number(found[1]) : 0
}
