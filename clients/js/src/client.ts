import type { BackoffOptions } from './backoff.js'
import { Connection, type ConnectionOptions } from './connection.js'
import { parseCursor } from './cursor.js'
import { environment, type Environment } from './environment.js'
import { asFanoutError, FanoutError } from './errors.js'
import { Http, type TokenSource } from './http.js'
import { decodePayload } from './payload.js'
import { Run, type FollowRunOptions } from './run.js'
import type { ConnectionState } from './state.js'
import { Subscription, type ChannelEvent, type SubscribeOptions } from './subscription.js'
import type { HistoryPage, TransportName, TransportTiming } from './transport.js'
import { RawUserFeed, SharedFeed, type UserFeed } from './user_feed.js'
import { approve, cancelRun, result, startRun, type ApproveOptions, type StartedRun, type StartOptions } from './workflows.js'

export interface ClientOptions {
  /** Where runs are started and polled, when that is not the gateway itself (a coordinator of its own). */
  runsUrl?: string
  /** A JWT, or a function that brings one that is valid now. */
  token?: TokenSource
  /**
   * For a gateway of the original contract: users' events over `/ws?username=`, bare payloads and no
   * cursors, and runs by polling; channels are not to be had there.
   */
  rawUserSockets?: boolean
  /** In order of preference; default WebSocket, server-sent events, long polling. */
  transports?: readonly TransportName[]
  /** Full jitter between reconnects; default 500 ms to 15 s. */
  backoff?: Partial<BackoffOptions>
  /** Quiet this long, a channel's history is asked whether the last message was lost; 0 = never. Default 4000 ms. */
  idleMs?: number
  /** As long as nothing is missed those questions become rarer, up to this. Default 30 000 ms. */
  idleMaxMs?: number
  /** Events that may wait for a `for await` loop. Default 10 000. */
  queueMax?: number
  /** Failed attempts in a row after which the next transport has its turn. Default 2. */
  fallbackAfter?: number
  /** How long a lesser transport serves before a WebSocket is tried beside it. Default 60 000 ms. */
  upgradeAfterMs?: number
  timing?: Partial<TransportTiming>
  onState?: (state: ConnectionState) => void
  /** `ws`, in a Node without one of its own. */
  WebSocket?: Environment['WebSocket'] | (new (url: any, protocols?: any) => any)
  fetch?: Environment['fetch']
  /** Clock and randomness, for tests. */
  environment?: Partial<Environment>
}

export interface PublishResult {
  /** null where the namespace has no history. */
  cursor: string | null
  /** This idempotency key had been published before; the event was not sent again. */
  duplicate: boolean
}

const TIMING: TransportTiming = { connectTimeoutMs: 10_000, pingAfterMs: 25_000, answerTimeoutMs: 5000, pollWaitS: 25 }
const PUBLISH_ATTEMPTS = 4
const HISTORY_LIMIT = 500

/** A client of one gateway. Nothing is connected before something is subscribed to. */
export function connect(url?: string, options: ClientOptions = {}): FanoutClient {
  const base = url ?? (globalThis as { location?: { href: string } }).location?.href
  if (!base) throw new FanoutError('bad_url', 'connect(): say where the gateway is, e.g. connect("http://localhost:8084")')
  return new FanoutClient(new URL(url ?? '/', base).href, options)
}

export class FanoutClient {
  readonly #env: Environment
  readonly #http: Http
  readonly #runsHttp: Http
  readonly #options: ClientOptions
  readonly #backoff: BackoffOptions
  readonly #timing: TransportTiming
  readonly #connection: Connection
  readonly #subscriptions = new Map<string, Subscription<any>>()
  readonly #feeds = new Map<string, SharedFeed>()
  readonly #runs = new Set<Run>()
  readonly #stateListeners = new Set<(state: ConnectionState) => void>()
  /** History over HTTP comes from another gateway than the events: only the connection can tell. */
  #foreignHistory = false
  #state: ConnectionState = 'catching-up'

  /** @internal Use connect(). */
  constructor(url: string, options: ClientOptions) {
    this.#options = options
    this.#env = environment({
      ...options.environment,
      ...(options.WebSocket && { WebSocket: options.WebSocket as Environment['WebSocket'] }),
      ...(options.fetch && { fetch: options.fetch })
    })
    this.#http = new Http(this.#env, url, options.token)
    this.#runsHttp = options.runsUrl ? new Http(this.#env, new URL(options.runsUrl, url).href, options.token) : this.#http
    this.#backoff = { minMs: 500, maxMs: 15_000, ...options.backoff }
    this.#timing = { ...TIMING, ...options.timing }
    this.#connection = new Connection(this.#env, this.#http, this.#connectionOptions(), {
      event: (event) => this.#subscriptions.get(event.channel)?.follower.event(event),
      notice: (notice) => this.#subscriptions.get(notice.channel)?.follower.notice(notice),
      gap: (notice) => this.#subscriptions.get(notice.channel)?.follower.gap(notice),
      refused: (channel, error) => this.#subscriptions.get(channel)?.fail(error),
      down: () => {
        this.#foreignHistory = false
        for (const subscription of this.#subscriptions.values()) subscription.follower.down()
      },
      changed: () => {
        for (const subscription of [...this.#subscriptions.values()]) subscription.refresh()
        this.#changed()
      }
    })
    if (options.onState) this.#stateListeners.add(options.onState)
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** How the gateway is reached now. */
  get transport(): TransportName | undefined {
    return this.#connection.transport?.name
  }

  /** Why the connection was last lost or refused. */
  get lastError(): FanoutError | undefined {
    return this.#connection.lastError
  }

  /** Calls back with every new state; returns how to stop that. */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.#stateListeners.add(listener)
    return () => this.#stateListeners.delete(listener)
  }

  /** Follows a channel. One subscription a channel: share it, or use a second client. */
  subscribe<T = unknown>(channel: string, options: SubscribeOptions<T> = {}): Subscription<T> {
    if (this.#connection.phase === 'closed') throw new FanoutError('closed', 'this client is closed')
    if (this.#subscriptions.has(channel)) {
      throw new FanoutError('exists', `${channel}: this client follows it already; share that subscription`)
    }
    const { idleMs = 4000, idleMaxMs = 30_000, queueMax = 10_000 } = this.#options
    const subscription = new Subscription<T>(this.#env, channel, options, { idleMs, idleMaxMs, backoff: this.#backoff }, {
      history: (name, since) => this.#historyPage(name, since),
      stateOf: (caughtUp) => this.#stateOf(caughtUp),
      changed: () => this.#changed(),
      removed: () => {
        this.#subscriptions.delete(channel)
        this.#connection.remove(channel)
      },
      queueMax
    })
    this.#subscriptions.set(channel, subscription)
    if (this.#connection.phase === 'failed') subscription.fail(this.lastError!)
    else this.#connection.add(subscription.follower)
    this.#changed()
    return subscription
  }

  /** The events of one run of a user, by socket and, while that is silent, by polls. */
  followRun(runId: string, options: FollowRunOptions): Run {
    const run: Run = new Run(this.#env, this.#runsHttp, this.user(options.username), runId, options, () => this.#runs.delete(run))
    this.#runs.add(run)
    return run
  }

  /** Starts a workflow; followRun() shows what becomes of it. */
  startRun(tag: string, options: StartOptions): Promise<StartedRun> {
    return startRun(this.#runsHttp, tag, options)
  }

  /** Rejects with the code `run_over` when there is nothing left to cancel. */
  cancelRun(runId: string, { username }: { username: string }): Promise<void> {
    return cancelRun(this.#runsHttp, runId, username)
  }

  /** Answers a node that waits for a human (`approval_requested`). */
  approve(runId: string, nodeId: string, options: ApproveOptions): Promise<'approved' | 'rejected'> {
    return approve(this.#runsHttp, runId, nodeId, options)
  }

  /** What a `result_ref` stands for. */
  result<T = unknown>(reference: string): Promise<T> {
    return result<T>(this.#runsHttp, reference)
  }

  /**
   * Everything that is sent to a user. Shared: many listeners are one subscription, and `since` is that of
   * the call that made it. Raw sockets have only what comes.
   */
  user(username: string, { since }: { since?: string } = {}): UserFeed {
    let feed = this.#feeds.get(username)
    if (!feed) {
      feed = this.#options.rawUserSockets
        ? new RawUserFeed(this.#env, this.#http, username, this.#timing, this.#backoff)
        : new ChannelUserFeed(this, `user:${username}`, since)
      this.#feeds.set(username, feed)
    }
    return feed
  }

  /** Publishes over HTTP. A request that may or may not have arrived is repeated with its key: once is once. */
  async publish(channel: string, data: unknown, options: { idempotencyKey?: string } = {}): Promise<PublishResult> {
    const body = { channel, data, idempotency_key: options.idempotencyKey ?? this.#newKey() }
    for (let attempt = 1; ; attempt++) {
      try {
        const reply = await this.#http.json(this.#http.url('api/v1/publish'), { method: 'POST', body })
        const [result] = reply.body.results
        if (result.error) throw new FanoutError(result.error.code, result.error.message, 422)
        return { cursor: result.cursor, duplicate: reply.body.duplicate }
      } catch (thrown) {
        const error = asFanoutError(thrown)
        if (error.final || attempt === PUBLISH_ATTEMPTS) throw error
        const pause = this.#env.random() * this.#backoff.minMs * 2 ** attempt
        await new Promise<void>((done) => { this.#env.setTimeout(done, pause) })
      }
    }
  }

  /** One page of what is kept of a channel, oldest first. */
  async history<T = unknown>(channel: string, options: { since?: string; limit?: number } = {}): Promise<{
    events: ChannelEvent<T>[]; cursor: string; state: HistoryPage['state']; more: boolean
  }> {
    const page = await this.#httpHistory(channel, options.since ?? 'begin', options.limit ?? 100)
    const events = page.events.map((event) => ({
      kind: 'event' as const, channel, cursor: event.cursor, data: decodePayload(event) as T
    }))
    return { events, cursor: page.cursor, state: page.state, more: page.more }
  }

  /** Ends everything that was begun here, at once. */
  close(): void {
    for (const run of [...this.#runs]) run.close()
    for (const feed of this.#feeds.values()) feed.end()
    for (const subscription of [...this.#subscriptions.values()]) subscription.unsubscribe()
    this.#connection.close()
    this.#changed()
  }

  #connectionOptions(): ConnectionOptions {
    const { transports = ['websocket', 'sse', 'poll'], fallbackAfter = 2, upgradeAfterMs = 60_000 } = this.#options
    const usable = transports.filter((name) => name !== 'websocket' || this.#env.WebSocket)
    if (usable.length === 0) throw new FanoutError('no_transport', 'transports: only WebSocket, and there is none here; pass one as { WebSocket }')
    return { transports: usable, backoff: this.#backoff, timing: this.#timing, fallbackAfter, upgradeAfterMs }
  }

  /** 128 bits; from the environment so that tests repeat. */
  #newKey(): string {
    return Array.from({ length: 4 }, () => Math.floor(this.#env.random() * 2 ** 32).toString(16).padStart(8, '0')).join('')
  }

  // --- history for holes ------------------------------------------------------------------------

  async #httpHistory(channel: string, since: string, limit: number): Promise<HistoryPage> {
    const path = `api/v1/channels/${encodeURIComponent(channel)}/history`
    const { body } = await this.#http.json(this.#http.url(path, [['since', since], ['limit', String(limit)]]))
    return body
  }

  /**
   * Over HTTP, which is not the network path that lost something. Where HTTP cannot tell, because it is not
   * allowed from this page or leads to a gateway with other cursors, over the connection itself.
   */
  async #historyPage(channel: string, since: string): Promise<HistoryPage> {
    const own = this.#connection.transport?.history
    if (!own) return this.#httpHistory(channel, since, HISTORY_LIMIT)
    if (this.#foreignHistory) return own(channel, since, HISTORY_LIMIT)
    let page: HistoryPage
    try {
      page = await this.#httpHistory(channel, since, HISTORY_LIMIT)
    } catch (refused) {
      return own(channel, since, HISTORY_LIMIT).catch((error: FanoutError) => {
        const answered = error.code !== 'timeout' && error.code !== 'busy' && error.status === undefined
        throw answered && asFanoutError(refused).final ? refused : error
      })
    }
    const [asked, got] = [parseCursor(since), parseCursor(page.cursor)]
    if (page.state !== 'reset' || !asked || asked.epoch === got?.epoch) return page
    const answer = await own(channel, since, HISTORY_LIMIT)
    if (answer.state !== 'reset') this.#foreignHistory = true
    return answer
  }

  // --- state ------------------------------------------------------------------------------------

  #stateOf(caughtUp: boolean): ConnectionState {
    const { phase, transport, lastError } = this.#connection
    if (phase === 'open') return transport?.name === 'poll' ? 'polling' : caughtUp ? 'live' : 'catching-up'
    if (phase === 'closed' || phase === 'failed') return 'offline'
    return lastError ? 'offline' : 'catching-up'
  }

  #changed(): void {
    const state = this.#stateOf([...this.#subscriptions.values()].every(({ follower }) => follower.caughtUp))
    if (state === this.#state) return
    this.#state = state
    for (const listener of [...this.#stateListeners]) listener(state)
  }
}

/** A user's events as the channel `user:U`, with all that a channel gives. */
class ChannelUserFeed extends SharedFeed {
  readonly #client: FanoutClient
  readonly #channel: string
  readonly #since: string | undefined
  #subscription: Subscription | undefined

  constructor(client: FanoutClient, channel: string, since: string | undefined) {
    super()
    this.#client = client
    this.#channel = channel
    this.#since = since
  }

  protected open(): void {
    this.#subscription = this.#client.subscribe(this.#channel, {
      ...(this.#since !== undefined && { since: this.#since }),
      onEvent: ({ data, cursor }) => this.tellMessage(data, cursor),
      onReset: () => this.tellReset(),
      onState: (state) => this.tellState(state)
    })
    this.tellState(this.#subscription.state)
  }

  protected close(): void {
    this.#subscription?.unsubscribe()
    this.#subscription = undefined
  }
}
