import type { Environment } from './environment.js'
import { reportAsync } from './errors.js'
import type { Http } from './http.js'
import { Hybrid, HYBRID_DEFAULTS, type HybridOptions } from './hybrid.js'
import { RunList, terminalStatus, type RunStatus, type WorkflowEvent } from './run_list.js'
import type { ConnectionState } from './state.js'
import type { UserFeed } from './user_feed.js'

export interface FollowRunOptions {
  /** Whose run it is: events travel to users. */
  username: string
  /** Silence after which the run is polled, and the rhythm while it lasts. Default 4000 ms. */
  pollMs?: number
  /** Polls that bring nothing become rarer. `true` is { factor: 1.5, maxMs: 30_000 }; default off. */
  backoff?: boolean | { factor?: number; maxMs?: number }
  /** Poll at once: for a run that may have been going on for a while. Default false. */
  pollAtStart?: boolean
  /**
   * Poll once more after a terminal event that came over the socket, in case an earlier message was lost
   * just before. Default false: a terminal event ends polling.
   */
  pollAtEnd?: boolean
  onChange?: (run: Run) => void
}

/**
 * The events of one run, by socket and, while that is silent, by polls. A terminal event ends the polls;
 * the user's socket stays open until close().
 */
export class Run {
  readonly runId: string
  /** Polls made so far. */
  polls = 0

  readonly #http: Http
  readonly #options: FollowRunOptions
  readonly #list = new RunList()
  readonly #feed: UserFeed
  readonly #unlisten: () => void
  readonly #hybrid: Hybrid
  readonly #closed: () => void
  readonly #abort = new AbortController()
  #polledStatus: RunStatus = 'running'
  #lastPoll: 'none' | 'ok' | 'failed' = 'none'
  #etag: string | null = null
  #state: ConnectionState = 'catching-up'
  #settle!: (status: RunStatus) => void
  #connected!: () => void
  /** Settles when the socket is there or, without one, a poll was answered: events from then on are seen. */
  readonly ready: Promise<void> = new Promise((done) => { this.#connected = done })
  /** Settles with the outcome when a terminal event is known. */
  readonly finished: Promise<RunStatus> = new Promise((done) => { this.#settle = done })

  /** @internal Use client.followRun(). */
  constructor(env: Environment, http: Http, feed: UserFeed, runId: string, options: FollowRunOptions, closed: () => void) {
    this.#closed = closed
    this.runId = runId
    this.#http = http
    this.#feed = feed
    this.#options = options
    this.#hybrid = new Hybrid(env, hybridOptions(options), () => this.#poll())
    this.#unlisten = feed.listen({
      onEvent: (event) => this.#received(event),
      onReset: () => this.#hybrid.pollNow(),
      onState: () => this.#changed(false)
    })
    this.#hybrid.start()
    this.#changed(false)
    if (options.pollAtStart) this.#hybrid.pollNow()
  }

  get events(): readonly WorkflowEvent[] {
    return this.#list.events
  }

  get status(): RunStatus {
    const status = this.#list.status
    return status === 'running' ? this.#polledStatus : status
  }

  get isTerminal(): boolean {
    return this.status !== 'running'
  }

  get state(): ConnectionState {
    const { state } = this.#feed
    if (state === 'live' || state === 'polling' || this.isTerminal) return state
    if (this.#lastPoll === 'ok') return 'polling'
    return this.#lastPoll === 'failed' ? 'offline' : 'catching-up'
  }

  close(): void {
    this.#hybrid.stop()
    this.#abort.abort()
    this.#unlisten()
    this.#closed()
  }

  #received(event: WorkflowEvent): void {
    const own = event.run_id === this.runId
    this.#hybrid.activity(own)
    if (!own || !this.#list.receive(event)) return
    if (this.#options.pollAtEnd && terminalStatus(event)) {
      this.#hybrid.stop()
      void this.#poll().catch(() => {}).then(() => this.#changed(true))
    } else {
      this.#changed(true)
    }
  }

  async #poll(): Promise<boolean> {
    const url = this.#http.url(`api/v1/runs/${encodeURIComponent(this.runId)}/events`)
    this.polls++
    this.#list.pollBegins()
    try {
      const reply = await this.#http.json(url, { etag: this.#etag, signal: this.#abort.signal })
      if (this.#abort.signal.aborted) return false
      this.#lastPoll = 'ok'
      const news = reply.status !== 304 && this.#list.replace(reply.body.events)
      if (reply.status !== 304) {
        this.#etag = reply.etag
        if (isOutcome(reply.body.status)) this.#polledStatus = reply.body.status
      }
      this.#changed(reply.status !== 304)
      return news
    } catch (error) {
      if (this.#abort.signal.aborted) return false
      this.#lastPoll = 'failed'
      this.#changed(false)
      throw error
    }
  }

  #changed(events: boolean): void {
    if (this.#abort.signal.aborted) return
    if (this.isTerminal) {
      this.#hybrid.stop()
      this.#settle(this.status)
    }
    const { state } = this
    if (state === 'live' || state === 'polling') this.#connected()
    if (!events && state === this.#state) return
    this.#state = state
    try {
      this.#options.onChange?.(this)
    } catch (error) {
      reportAsync(error)
    }
  }
}

function isOutcome(status: unknown): status is RunStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

function hybridOptions({ pollMs, backoff }: FollowRunOptions): HybridOptions {
  const rarer = backoff === true ? {} : backoff || undefined
  return {
    ...HYBRID_DEFAULTS,
    pollMs: pollMs ?? HYBRID_DEFAULTS.pollMs,
    backoff: rarer && { factor: rarer.factor ?? 1.5, maxMs: rarer.maxMs ?? 30_000 }
  }
}
