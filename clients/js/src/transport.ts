import type { Environment } from './environment.js'
import type { FanoutError } from './errors.js'
import type { Http } from './http.js'
import type { Envelope, GapNotice, StateNotice } from './payload.js'

export type TransportName = 'websocket' | 'sse' | 'poll'

/** One channel as it is asked for. `since` is read when asking: it moves with every event. */
export interface ChannelRequest {
  readonly channel: string
  readonly types: readonly string[] | undefined
  readonly batchMs: number | undefined
  since(): string | undefined
}

export interface HistoryPage {
  events: { cursor: string; data: unknown; enc?: 'text' | 'base64' }[]
  /** Where the page ends; `since` of the next one. */
  cursor: string
  state: 'live' | 'replayed' | 'reset'
  more: boolean
}

export interface TransportClosed {
  /** It had been open: this is a loss, not a refusal. */
  opened: boolean
  /** Do not come back sooner, ms. */
  retryMs: number
  error: FanoutError
}

/** What a transport tells its connection. After `closed` it is silent. */
export interface TransportSink {
  /** Once. */
  opened(): void
  event(envelope: Envelope): void
  state(notice: StateNotice): void
  gap(notice: GapNotice): void
  /** The gateway will not serve this channel. */
  refused(channel: string, error: FanoutError): void
  closed(info: TransportClosed): void
}

export interface TransportContext {
  readonly env: Environment
  readonly http: Http
  readonly sink: TransportSink
  readonly timing: TransportTiming
}

export interface TransportTiming {
  /** A connection that is not open by then has failed. */
  connectTimeoutMs: number
  /** Silence after which a WebSocket is asked for a sign of life; a stream is given up after twice that. */
  pingAfterMs: number
  /** How long an answer to a command may take. */
  answerTimeoutMs: number
  /** `wait` of a long poll, seconds. */
  pollWaitS: number
}

/** One way to be connected. It starts when it is made and ends with `closed` or close(). */
export interface Transport {
  readonly name: TransportName
  subscribe(request: ChannelRequest): void
  unsubscribe(channel: string): void
  /** History from the very gateway that delivers; undefined where only HTTP can ask. */
  readonly history: ((channel: string, since: string, limit: number) => Promise<HistoryPage>) | undefined
  /** Ends without calling the sink. */
  close(): void
}

export type OpenTransport = (context: TransportContext) => Transport
