import type { Environment } from './environment.js'
import { reportAsync, type FanoutError } from './errors.js'
import { Follower, type FollowerOptions, type FollowerPort } from './follower.js'
import { decodePayload } from './payload.js'
import { AsyncQueue } from './queue.js'
import type { ConnectionState } from './state.js'
import type { HistoryPage } from './transport.js'

/** One event of a channel. */
export interface ChannelEvent<T = unknown> {
  readonly kind: 'event'
  readonly channel: string
  /** Hand it back as `since` to continue behind this event. */
  readonly cursor: string
  readonly data: T
}

/**
 * History no longer reaches back to where this subscription stood (a long absence, a restart without
 * durable storage). What the application shows may lack events: load it anew. What follows begins
 * behind `cursor`.
 */
export interface ChannelReset {
  readonly kind: 'reset'
  readonly channel: string
  readonly cursor: string
}

export interface SubscribeOptions<T = unknown> {
  /** 'begin' = all that is kept, a cursor = what came after it; without it, from now on. */
  since?: string
  /** Only events whose `type` is listed; `node_*` is all that begin with `node_`. */
  types?: readonly string[]
  /** The gateway may gather events this long, 0..1000 ms. */
  batchMs?: number
  /**
   * Offsets without a hole are expected, and a hole is filled from history. Default true; turn it off for
   * a namespace with the policy `conflate`, which leaves out what a slow client was spared.
   */
  repair?: boolean
  onEvent?: (event: ChannelEvent<T>) => void
  /** Delivery goes on when the promise is settled: the place to load a snapshot. */
  onReset?: (reset: ChannelReset) => void | Promise<void>
  onState?: (state: ConnectionState) => void
}

export interface SubscriptionPort {
  history(channel: string, since: string): Promise<HistoryPage>
  /** The state of the connection under this subscription; `caughtUp` is the subscription's own part. */
  stateOf(caughtUp: boolean): ConnectionState
  changed(): void
  removed(subscription: Subscription<any>): void
  readonly queueMax: number
}

/** A channel followed: callbacks as given, and `for await` over events and resets. */
export class Subscription<T = unknown> implements AsyncIterable<ChannelEvent<T> | ChannelReset> {
  readonly channel: string
  /** Settles when the gateway has answered: events from then on are seen. */
  readonly ready: Promise<void>
  /** Why the gateway refuses this channel. */
  error: FanoutError | undefined

  /** @internal */
  readonly follower: Follower
  readonly #options: SubscribeOptions<T>
  readonly #port: SubscriptionPort
  readonly #queues = new Set<AsyncQueue<ChannelEvent<T> | ChannelReset>>()
  /** Without callbacks the first loop sees everything from the start. */
  #first: AsyncQueue<ChannelEvent<T> | ChannelReset> | undefined
  #state: ConnectionState = 'catching-up'
  #closed = false
  #settle!: { resolve(): void; reject(error: FanoutError): void }

  /** @internal Use client.subscribe(). */
  constructor(
    env: Environment, channel: string, options: SubscribeOptions<T>,
    timing: Pick<FollowerOptions, 'idleMs' | 'idleMaxMs' | 'backoff'>, port: SubscriptionPort
  ) {
    this.channel = channel
    this.#options = options
    this.#port = port
    this.ready = new Promise((resolve, reject) => { this.#settle = { resolve, reject } })
    this.ready.catch(() => {}) // Also told by `error` and by the loop.
    if (!options.onEvent) this.#first = this.#queue()
    const follow: FollowerPort = {
      history: port.history,
      deliver: ({ cursor, data, enc }) => this.#deliver({
        kind: 'event', channel, cursor, data: decodePayload({ data, ...(enc && { enc }) }) as T
      }),
      reset: (cursor) => this.#reset({ kind: 'reset', channel, cursor }),
      ready: () => this.#settle.resolve(),
      changed: () => this.refresh()
    }
    this.follower = new Follower(env, channel, {
      since: options.since,
      types: options.types,
      batchMs: options.batchMs,
      repair: options.repair ?? !options.types?.length,
      ...timing
    }, follow)
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** Where to continue, also in another process: `subscribe(channel, { since: cursor })`. */
  get cursor(): string | undefined {
    return this.follower.cursor
  }

  unsubscribe(): void {
    this.#close(undefined)
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent<T> | ChannelReset> {
    const queue = this.#first ?? this.#queue()
    this.#first = undefined
    return queue
  }

  /** @internal The gateway will not serve this channel. */
  fail(error: FanoutError): void {
    this.error = error
    this.#settle.reject(error)
    this.#close(error)
  }

  /** @internal Something this subscription's state depends on has changed. */
  refresh(): void {
    const state = this.#closed ? 'offline' : this.#port.stateOf(this.follower.caughtUp)
    if (state !== this.#state) {
      this.#state = state
      this.#call(() => this.#options.onState?.(state))
    }
    this.#port.changed()
  }

  #close(error: FanoutError | undefined): void {
    if (this.#closed) return
    this.#closed = true
    this.follower.close()
    for (const queue of this.#queues) queue.end(error)
    this.#port.removed(this)
    this.refresh()
  }

  #queue(): AsyncQueue<ChannelEvent<T> | ChannelReset> {
    const queue: AsyncQueue<ChannelEvent<T> | ChannelReset> =
      new AsyncQueue(this.#port.queueMax, () => this.#queues.delete(queue))
    this.#queues.add(queue)
    return queue
  }

  #deliver(event: ChannelEvent<T>): void {
    this.#call(() => this.#options.onEvent?.(event))
    for (const queue of this.#queues) queue.push(event)
  }

  #reset(reset: ChannelReset): void | Promise<void> {
    for (const queue of this.#queues) queue.push(reset)
    const told = this.#call(() => this.#options.onReset?.(reset))
    return told instanceof Promise ? told.catch(reportAsync) : undefined
  }

  /** An application's error is its own: it surfaces as uncaught and does not stop the channel. */
  #call<R>(callback: () => R): R | undefined {
    try {
      return callback()
    } catch (error) {
      reportAsync(error)
      return undefined
    }
  }
}
