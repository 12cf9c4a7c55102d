import { FanoutError } from './errors.js'
import { retryHint } from './backoff.js'
import { parseJson, type Envelope, type StateNotice } from './payload.js'
import { ABNORMAL, closeError, Socket } from './socket.js'
import type { ChannelRequest, HistoryPage, Transport, TransportContext } from './transport.js'

interface Pending {
  resolve(ok: any): void
  reject(error: FanoutError): void
  timer: unknown
}

const BUSY_RETRY_MS = 1000
const PROTOCOL = 'fanout.v1'

/**
 * One WebSocket with the subprotocol fanout.v1: channels come and go by commands with ids.
 *
 * The gateway answers a subscription twice, by an acknowledgement and by a state notice that say the
 * same. The first to arrive counts and its twin is dropped; when neither comes, the subscription is
 * asked for again.
 */
export class WebSocketTransport implements Transport {
  readonly name = 'websocket'
  readonly history = (channel: string, since: string, limit: number): Promise<HistoryPage> =>
    this.#command('history', { channel, since, limit })

  readonly #context: TransportContext
  readonly #pending = new Map<number, Pending>()
  readonly #requests = new Map<string, ChannelRequest>()
  /** Subscriptions whose answer has not come in either form. */
  readonly #unanswered = new Set<string>()
  /** Channels whose acknowledgement came first: the twin that is to be dropped. */
  readonly #twins = new Map<string, string>()
  #socket: Socket | undefined
  #id = 0
  #open = false
  #closed = false
  #silence: unknown
  #pings = 0

  constructor(context: TransportContext) {
    this.#context = context
    void this.#connect()
  }

  subscribe(request: ChannelRequest): void {
    this.#requests.set(request.channel, request)
    if (this.#open) void this.#subscribe(request)
  }

  unsubscribe(channel: string): void {
    this.#requests.delete(channel)
    this.#unanswered.delete(channel)
    this.#twins.delete(channel)
    if (this.#open) this.#command('unsubscribe', { channel }).catch(() => {})
  }

  close(): void {
    this.#end()
    this.#socket?.close()
  }

  async #connect(): Promise<void> {
    const { env, http, sink, timing } = this.#context
    const protocols = [PROTOCOL]
    try {
      const token = await http.token()
      if (token) protocols.push(`fanout.token.${token}`)
    } catch (error) {
      if (this.#closed) return
      this.#end()
      sink.closed({ opened: false, retryMs: 0, error: new FanoutError('token', `no token: ${error}`) })
      return
    }
    if (this.#closed) return
    this.#socket = new Socket(env, http.wsUrl('ws'), protocols, timing.connectTimeoutMs, {
      open: () => {
        this.#open = true
        this.#listen()
        sink.opened()
        for (const request of this.#requests.values()) void this.#subscribe(request)
      },
      message: (data) => {
        this.#pings = 0
        this.#listen()
        if (typeof data === 'string') this.#frame(data)
      },
      closed: (code, reason, opened) => {
        this.#end()
        sink.closed({ opened, retryMs: retryHint(reason), error: closeError(code, reason) })
      }
    })
  }

  #end(): void {
    const { env } = this.#context
    this.#closed = true
    this.#open = false
    env.clearTimeout(this.#silence)
    for (const pending of this.#pending.values()) {
      env.clearTimeout(pending.timer)
      pending.reject(closeError(ABNORMAL, ''))
    }
    this.#pending.clear()
  }

  // --- frames -----------------------------------------------------------------------------------

  #frame(text: string): void {
    let frame: any
    try {
      frame = parseJson(text, 'a frame')
    } catch {
      return // Not of this protocol; what is lost shows in the offsets.
    }
    if (Array.isArray(frame)) for (const one of frame) this.#one(one) // batch_ms
    else this.#one(frame)
  }

  #one(frame: any): void {
    if (frame === null || typeof frame !== 'object') return
    const { sink } = this.#context
    if ('id' in frame) this.#answer(frame)
    else if (frame.gap) sink.gap(frame.gap)
    else if (typeof frame.state === 'string') this.#notice(frame)
    else if (typeof frame.channel === 'string' && 'data' in frame) {
      if (this.#requests.has(frame.channel)) sink.event(frame as Envelope)
    }
  }

  #notice(notice: StateNotice): void {
    const { channel } = notice
    if (!this.#requests.has(channel)) return
    const twin = this.#twins.get(channel)
    this.#twins.delete(channel)
    this.#unanswered.delete(channel)
    if (twin !== twinKey(notice)) this.#context.sink.state(notice)
  }

  // --- commands ---------------------------------------------------------------------------------

  #command(name: string, argument: object): Promise<any> {
    const { env, timing } = this.#context
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      const timer = env.setTimeout(() => {
        this.#pending.delete(id)
        reject(new FanoutError('timeout', `${name}: no answer within ${timing.answerTimeoutMs} ms`))
      }, timing.answerTimeoutMs)
      this.#pending.set(id, { resolve, reject, timer })
      this.#socket?.send(JSON.stringify({ id, [name]: argument }))
    })
  }

  #answer(frame: any): void {
    const pending = this.#pending.get(frame.id)
    if (!pending) return
    this.#pending.delete(frame.id)
    this.#context.env.clearTimeout(pending.timer)
    if (frame.error) pending.reject(new FanoutError(frame.error.code, frame.error.message))
    else pending.resolve(frame.ok)
  }

  async #subscribe(request: ChannelRequest): Promise<void> {
    const { channel, types, batchMs } = request
    const since = request.since()
    this.#unanswered.add(channel)
    try {
      const ok = await this.#command('subscribe', {
        channel,
        ...(since !== undefined && { since }),
        ...(types?.length && { types }),
        ...(batchMs && { batch_ms: batchMs })
      })
      if (this.#unanswered.delete(channel)) {
        this.#twins.set(channel, twinKey(ok))
        this.#context.sink.state({ ...ok, channel })
      }
    } catch (error) {
      this.#subscribeFailed(request, error as FanoutError)
    }
  }

  #subscribeFailed(request: ChannelRequest, error: FanoutError): void {
    const { channel } = request
    const current = () => this.#open && this.#requests.get(channel) === request
    if (!current() || !this.#unanswered.has(channel)) return
    if (error.code === 'timeout' || error.code === 'exists') {
      // In force or not, nobody knows: from the beginning.
      this.#command('unsubscribe', { channel }).catch(() => {})
      void this.#subscribe(request)
    } else if (error.code === 'busy' || error.code === 'cancelled') {
      this.#context.env.setTimeout(() => { if (current()) void this.#subscribe(request) }, BUSY_RETRY_MS)
    } else {
      this.#requests.delete(channel)
      this.#unanswered.delete(channel)
      this.#context.sink.refused(channel, error)
    }
  }

  // --- signs of life ----------------------------------------------------------------------------

  /** Pages do not see the gateway's pings, so a silent connection is asked, twice, and then given up. */
  #listen(): void {
    const { env, timing } = this.#context
    env.clearTimeout(this.#silence)
    this.#silence = env.setTimeout(() => {
      if (this.#pings === 2) {
        this.#socket?.fail('no sign of life')
        return
      }
      this.#pings++
      this.#command('ping', {}).catch(() => {})
      this.#listen()
    }, this.#pings === 0 ? timing.pingAfterMs : timing.answerTimeoutMs)
  }
}

function twinKey(notice: { state: string; cursor: string }): string {
  return `${notice.state} ${notice.cursor}`
}
