import { Backoff, type BackoffOptions } from './backoff.js'
import type { Environment } from './environment.js'
import type { FanoutError } from './errors.js'
import type { Http } from './http.js'
import type { Envelope, GapNotice, StateNotice } from './payload.js'
import { PollTransport } from './poll_transport.js'
import { isFinalClose } from './socket.js'
import { SseTransport } from './sse_transport.js'
import type { ChannelRequest, Transport, TransportClosed, TransportName, TransportSink, TransportTiming } from './transport.js'
import { WebSocketTransport } from './websocket.js'

export interface ConnectionOptions {
  /** In order of preference. */
  transports: readonly TransportName[]
  backoff: BackoffOptions
  timing: TransportTiming
  /** Failed attempts in a row after which the next transport has its turn. */
  fallbackAfter: number
  /** How long a lesser transport serves before the first is tried beside it, ms. */
  upgradeAfterMs: number
}

/** What a connection tells the client. */
export interface ConnectionHost {
  event(envelope: Envelope): void
  notice(notice: StateNotice): void
  gap(notice: GapNotice): void
  refused(channel: string, error: FanoutError): void
  /** Nothing comes until the next up(). */
  down(): void
  /** `phase` or `lastError` has changed. */
  changed(): void
}

export type ConnectionPhase = 'idle' | 'connecting' | 'open' | 'waiting' | 'failed' | 'closed'

const TRANSPORTS = {
  websocket: WebSocketTransport,
  sse: SseTransport,
  poll: PollTransport
}

const TOO_FAST = 4429

/**
 * Keeps one transport going: tries them in order, comes back with jitter, and moves up to a better one
 * make-before-break. Holds the list of channels; who stands where is the requests' own knowledge.
 */
export class Connection {
  phase: ConnectionPhase = 'idle'
  lastError: FanoutError | undefined

  readonly #env: Environment
  readonly #http: Http
  readonly #options: ConnectionOptions
  readonly #host: ConnectionHost
  readonly #backoff: Backoff
  readonly #requests = new Map<string, ChannelRequest>()
  readonly #unwake: () => void
  #transport: Transport | undefined
  #better: Transport | undefined
  #choice = 0
  #failures = 0
  #timer: unknown
  #upgradeTimer: unknown

  constructor(env: Environment, http: Http, options: ConnectionOptions, host: ConnectionHost) {
    this.#env = env
    this.#http = http
    this.#options = options
    this.#host = host
    this.#backoff = new Backoff(env, options.backoff)
    this.#unwake = env.onWake(() => { if (this.phase === 'waiting') this.#open() })
  }

  /** The transport in use while it is open. */
  get transport(): Transport | undefined {
    return this.phase === 'open' ? this.#transport : undefined
  }

  add(request: ChannelRequest): void {
    this.#requests.set(request.channel, request)
    if (this.phase === 'idle') this.#open()
    else this.#transport?.subscribe(request)
    this.#better?.subscribe(request)
  }

  remove(channel: string): void {
    this.#requests.delete(channel)
    this.#transport?.unsubscribe(channel)
    this.#better?.unsubscribe(channel)
  }

  close(): void {
    this.#stop('closed')
    this.#unwake()
  }

  #stop(phase: 'closed' | 'failed'): void {
    this.phase = phase
    this.#env.clearTimeout(this.#timer)
    this.#env.clearTimeout(this.#upgradeTimer)
    this.#transport?.close()
    this.#better?.close()
    this.#transport = this.#better = undefined
    this.#host.down()
    this.#host.changed()
  }

  // --- one transport after the other ------------------------------------------------------------

  #open(): void {
    this.#env.clearTimeout(this.#timer)
    this.phase = 'connecting'
    this.#transport = this.#start(this.#choice, {
      opened: () => this.#opened(),
      closed: (info) => this.#lost(info)
    })
    this.#host.changed()
  }

  #opened(): void {
    this.phase = 'open'
    this.#failures = 0
    // Soon for the first time: when nothing could be reached, the turn of a lesser one says nothing.
    if (this.#choice > 0) this.#planUpgrade(Math.min(this.#options.upgradeAfterMs, this.#options.backoff.minMs))
    this.#host.changed()
  }

  #lost({ opened, retryMs, error }: TransportClosed): void {
    const code = error.status ?? 0
    this.lastError = error
    this.#transport = undefined
    this.#env.clearTimeout(this.#upgradeTimer)
    if (isFinalClose(code, this.#http.canRenewToken)) {
      this.#stop('failed')
      return
    }
    if (!opened) {
      this.#failures++
      if (this.#failures >= this.#options.fallbackAfter || error.final) {
        this.#choice = (this.#choice + 1) % this.#options.transports.length
        this.#failures = 0
      }
    }
    this.phase = 'waiting'
    const hint = code === TOO_FAST ? this.#options.backoff.maxMs : retryMs
    this.#timer = this.#env.setTimeout(() => this.#open(), this.#backoff.next(hint))
    this.#host.down()
    this.#host.changed()
  }

  /** Makes a transport; what it says after it was replaced is not heard. */
  #start(choice: number, own: Pick<TransportSink, 'opened' | 'closed'>): Transport {
    let transport: Transport | undefined
    const heard = (): boolean => transport === this.#transport || transport === this.#better
    const current = (): boolean => {
      if (transport !== this.#transport) return false
      this.#backoff.reset() // It speaks: not a door that opens and slams.
      return true
    }
    const host = this.#host
    const sink: TransportSink = {
      opened: () => { if (heard()) own.opened() },
      event: (envelope) => { if (current()) host.event(envelope) },
      state: (notice) => { if (current()) host.notice(notice) },
      gap: (notice) => { if (current()) host.gap(notice) },
      refused: (channel, error) => { if (current()) host.refused(channel, error) },
      closed: (info) => { if (heard()) own.closed(info) }
    }
    const Kind = TRANSPORTS[this.#options.transports[choice]!]
    transport = new Kind({ env: this.#env, http: this.#http, sink, timing: this.#options.timing })
    for (const request of this.#requests.values()) transport.subscribe(request)
    return transport
  }

  // --- upwards ----------------------------------------------------------------------------------

  #planUpgrade(afterMs = this.#options.upgradeAfterMs): void {
    this.#env.clearTimeout(this.#upgradeTimer)
    this.#upgradeTimer = this.#env.setTimeout(() => {
      this.#better = this.#start(0, {
        opened: () => {
          const former = this.#transport
          this.#transport = this.#better
          this.#better = undefined
          this.#choice = 0
          former?.close()
          this.#host.down() // Each channel is asked for again, from where it stands.
          this.#host.changed()
        },
        closed: (info) => {
          if (this.#transport && !this.#better) this.#lost(info) // It had become the one in use.
          else {
            this.#better = undefined
            this.#planUpgrade()
          }
        }
      })
    }, afterMs)
  }
}
