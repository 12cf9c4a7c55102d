import { asFanoutError } from './errors.js'
import { Groups } from './groups.js'
import type { ChannelRequest, Transport, TransportContext, TransportName } from './transport.js'

/**
 * What the transports without a way to the server share: a run of requests for each group of channels. A change of
 * the channels begins all of them anew: each continues at its own cursor.
 */
export abstract class GroupTransport implements Transport {
  abstract readonly name: TransportName
  readonly history = undefined

  protected readonly context: TransportContext
  readonly #groups: Groups
  #runs: AbortController[] = []
  #opened = false
  #closed = false

  constructor(context: TransportContext) {
    this.context = context
    this.#groups = new Groups(context.env, () => this.#restart())
  }

  subscribe(request: ChannelRequest): void {
    this.#groups.add(request)
  }

  unsubscribe(channel: string): void {
    this.#groups.remove(channel)
  }

  close(): void {
    this.#closed = true
    this.#groups.close()
    this.#abort()
  }

  /** Asks for a group until it is gone(), or has failed(). */
  protected abstract run(group: ChannelRequest[], run: AbortController): Promise<void>

  /** Replaced or closed while it was waiting. */
  protected gone(run: AbortController): boolean {
    return this.#closed || !this.#runs.includes(run)
  }

  protected opened(): void {
    if (this.#opened) return
    this.#opened = true
    this.context.sink.opened()
  }

  protected failed(run: AbortController, error: unknown, retryMs: number): void {
    if (this.gone(run)) return
    this.close()
    this.context.sink.closed({ opened: this.#opened, retryMs, error: asFanoutError(error) })
  }

  #abort(): void {
    for (const run of this.#runs) run.abort()
    this.#runs = []
  }

  #restart(): void {
    this.#abort()
    for (const group of this.#groups.list()) {
      const run = new AbortController()
      this.#runs.push(run)
      void this.run(group, run)
    }
  }
}
