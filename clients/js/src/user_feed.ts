import { Backoff, retryHint, type BackoffOptions } from './backoff.js'
import type { Environment } from './environment.js'
import type { Http } from './http.js'
import type { WorkflowEvent } from './run_list.js'
import { isFinalClose, Socket } from './socket.js'
import type { ConnectionState } from './state.js'
import type { TransportTiming } from './transport.js'

export interface UserListener {
  onEvent?(event: WorkflowEvent): void
  /** Everything that is published for the user, events of workflows or not. No cursor on a raw socket. */
  onMessage?(message: { data: unknown; cursor: string | undefined }): void
  /** Events may have been missed. */
  onReset?(): void
  onState?(state: ConnectionState): void
}

/** Where a user's events come from. It runs while somebody listens. */
export interface UserFeed {
  readonly state: ConnectionState
  /** Returns how to stop listening. */
  listen(listener: UserListener): () => void
}

/** The listeners of a feed, and its life: opened for the first, closed behind the last. */
export abstract class SharedFeed implements UserFeed {
  readonly #listeners = new Set<UserListener>()
  #state: ConnectionState = 'catching-up'

  get state(): ConnectionState {
    return this.#state
  }

  listen(listener: UserListener): () => void {
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) this.open()
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.close()
    }
  }

  /** The client closes: nobody is told anything any more. */
  end(): void {
    if (this.#listeners.size === 0) return
    this.#listeners.clear()
    this.close()
  }

  protected abstract open(): void
  protected abstract close(): void

  protected tellMessage(data: unknown, cursor?: string): void {
    const isEvent = data !== null && typeof data === 'object' && !(data instanceof Uint8Array)
    for (const listener of [...this.#listeners]) {
      listener.onMessage?.({ data, cursor })
      if (isEvent) listener.onEvent?.(data as WorkflowEvent)
    }
  }

  protected tellReset(): void {
    for (const listener of [...this.#listeners]) listener.onReset?.()
  }

  protected tellState(state: ConnectionState): void {
    if (state === this.#state) return
    this.#state = state
    for (const listener of [...this.#listeners]) listener.onState?.(state)
  }
}

/**
 * `/ws?username=`: bare payloads, without cursor or notice. All that a gateway of the original contract
 * has; what is lost while the socket is down is the polls' to find.
 */
export class RawUserFeed extends SharedFeed {
  readonly #env: Environment
  readonly #http: Http
  readonly #username: string
  readonly #timing: TransportTiming
  readonly #backoff: Backoff
  #socket: Socket | undefined
  #timer: unknown
  #unwake: (() => void) | undefined

  constructor(env: Environment, http: Http, username: string, timing: TransportTiming, backoff: BackoffOptions) {
    super()
    this.#env = env
    this.#http = http
    this.#username = username
    this.#timing = timing
    this.#backoff = new Backoff(env, backoff)
  }

  protected open(): void {
    this.#unwake = this.#env.onWake(() => { if (!this.#socket) this.#connect() })
    this.#connect()
  }

  protected close(): void {
    this.#env.clearTimeout(this.#timer)
    this.#unwake?.()
    this.#socket?.close()
    this.#socket = undefined
    this.tellState('offline')
  }

  #connect(): void {
    this.#env.clearTimeout(this.#timer)
    const url = this.#http.wsUrl('ws', [['username', this.#username]])
    this.#socket = new Socket(this.#env, url, [], this.#timing.connectTimeoutMs, {
      open: () => this.tellState('live'),
      message: (data) => {
        this.#backoff.reset()
        this.tellMessage(typeof data === 'string' ? parsed(data) : data)
      },
      closed: (code, reason) => {
        this.#socket = undefined
        if (!isFinalClose(code, false)) {
          this.#timer = this.#env.setTimeout(() => this.#connect(), this.#backoff.next(retryHint(reason)))
        }
        this.tellState('offline')
      }
    })
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text // Not an event of a workflow; a raw socket carries whatever is published.
  }
}
