import type { Environment, Fetch, WebSocketConstructor, WebSocketLike } from 'fanout-client'
import { Tally } from './tally'

/** What can be done to the connection, for everybody to see what the client makes of it. */
export interface FaultSettings {
  /** The WebSocket is cut, and every new one fails. */
  broken: boolean
  /** Every message of the WebSocket is lost with this probability. */
  lossy: boolean
  /** Nothing gets through: no socket, no request. */
  offline: boolean
}

const LOSS = 0.3
const ABNORMAL = 1006
const NO_FAULTS: FaultSettings = { broken: false, lossy: false, offline: false }

/**
 * The network as this page's client sees it. The client is given this WebSocket, this fetch and these wake-ups
 * instead of the platform's; it does not know, and everything it shows is its own answer.
 */
export class Faults {
  readonly tally = new Tally()
  readonly #sockets = new Set<FaultySocket>()
  readonly #wakes = new Set<() => void>()
  readonly #listeners = new Set<() => void>()
  readonly #fetch: Fetch
  #settings = NO_FAULTS

  /** `fetch`: what is underneath. */
  constructor(fetch: Fetch) {
    this.#fetch = fetch
  }

  get settings(): FaultSettings {
    return this.#settings
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  set(change: Partial<FaultSettings>): void {
    const before = this.#settings
    this.#settings = { ...before, ...change }
    if (this.refusesSockets) for (const socket of this.#sockets) socket.cut()
    // What a browser does when the network is back.
    if (before.offline && !this.#settings.offline) for (const wake of this.#wakes) wake()
    for (const listener of this.#listeners) listener()
  }

  get refusesSockets(): boolean {
    return this.#settings.broken || this.#settings.offline
  }

  /** Whether this message goes missing. */
  loses(): boolean {
    return this.#settings.lossy && Math.random() < LOSS
  }

  opened(socket: FaultySocket): void {
    this.#sockets.add(socket)
  }

  closed(socket: FaultySocket): void {
    this.#sockets.delete(socket)
  }

  /** For connect(): what the client takes for the platform. */
  environment(): Pick<Environment, 'WebSocket' | 'fetch' | 'onWake'> {
    return {
      WebSocket: socketOf(this),
      fetch: (url, init) => this.#request(url, init),
      onWake: (run) => this.#onWake(run)
    }
  }

  async #request(url: string, init?: RequestInit): Promise<Response> {
    if (this.#settings.offline) throw new TypeError('offline, by the switch on this page')
    const response = await this.#fetch(url, init)
    // While it was under way the network may have gone.
    if (this.#settings.offline) throw new TypeError('offline, by the switch on this page')
    void this.tally.response(new URL(url), response)
    return response
  }

  #onWake(run: () => void): () => void {
    const shown = (): void => { if (document.visibilityState === 'visible') run() }
    this.#wakes.add(run)
    addEventListener('online', run)
    document.addEventListener('visibilitychange', shown)
    return () => {
      this.#wakes.delete(run)
      removeEventListener('online', run)
      document.removeEventListener('visibilitychange', shown)
    }
  }
}

function socketOf(faults: Faults): WebSocketConstructor {
  return class extends FaultySocket {
    constructor(url: string, protocols?: string | string[]) {
      super(faults, url, protocols)
    }
  }
}

/** A WebSocket that the faults reach: one that can be cut, loses messages, or never opens. */
class FaultySocket implements WebSocketLike {
  onopen: WebSocketLike['onopen'] = null
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  readonly #faults: Faults
  readonly #socket: WebSocket | undefined
  #ended = false

  constructor(faults: Faults, url: string, protocols?: string | string[]) {
    this.#faults = faults
    if (faults.refusesSockets) {
      setTimeout(() => this.#end(ABNORMAL, ''), 20)
      return
    }
    const socket = new WebSocket(url, protocols)
    this.#socket = socket
    faults.opened(this)
    socket.onopen = (event) => { if (!this.#ended) this.onopen?.(event) }
    socket.onerror = (event) => { if (!this.#ended) this.onerror?.(event) }
    socket.onclose = ({ code, reason }) => this.#end(code, reason)
    socket.onmessage = ({ data }) => {
      if (this.#ended) return
      if (faults.loses()) {
        faults.tally.lostMessage()
        return
      }
      faults.tally.frame(data)
      this.onmessage?.({ data })
    }
  }

  get protocol(): string {
    return this.#socket?.protocol ?? ''
  }

  get binaryType(): string {
    return this.#socket?.binaryType ?? 'arraybuffer'
  }

  set binaryType(type: string) {
    if (this.#socket) this.#socket.binaryType = type as BinaryType
  }

  send(data: string): void {
    this.#socket?.send(data)
  }

  close(code?: number, reason?: string): void {
    this.#socket?.close(code, reason)
    if (!this.#socket) this.#ended = true
  }

  /** As when a cable is pulled: the end comes without a word from the other side. */
  cut(): void {
    this.#socket?.close()
    this.#end(ABNORMAL, '')
  }

  #end(code: number, reason: string): void {
    this.#faults.closed(this)
    if (this.#ended) return
    this.#ended = true
    this.onclose?.({ code, reason })
  }
}
