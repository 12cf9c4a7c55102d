import type { Environment, WebSocketLike } from './environment.js'
import { FanoutError } from './errors.js'

export interface SocketHandlers {
  open(): void
  message(data: string | Uint8Array): void
  /** Once, and never after close(). */
  closed(code: number, reason: string, opened: boolean): void
}

/** 1006 is what the platform reports when a connection just ends. */
export const ABNORMAL = 1006

/** A WebSocket with one end: however it fails, closed() is called once. */
export class Socket {
  readonly #env: Environment
  readonly #handlers: SocketHandlers
  readonly #socket: WebSocketLike | undefined
  readonly #timer: unknown
  #opened = false
  #ended = false

  constructor(env: Environment, url: string, protocols: string[], connectTimeoutMs: number, handlers: SocketHandlers) {
    this.#env = env
    this.#handlers = handlers
    this.#timer = env.setTimeout(() => this.fail('no answer to the handshake'), connectTimeoutMs)
    if (!env.WebSocket) {
      queueMicrotask(() => this.#end(ABNORMAL, 'there is no WebSocket here'))
      return
    }
    try {
      this.#socket = protocols.length ? new env.WebSocket(url, protocols) : new env.WebSocket(url)
    } catch (error) {
      queueMicrotask(() => this.#end(ABNORMAL, String(error)))
      return
    }
    this.#socket.binaryType = 'arraybuffer'
    this.#socket.onopen = () => this.#open()
    this.#socket.onmessage = ({ data }) => this.#message(data)
    this.#socket.onerror = () => {} // A close event follows, and says as much.
    this.#socket.onclose = ({ code, reason }) => this.#end(code, String(reason ?? ''))
  }

  send(text: string): void {
    if (this.#opened && !this.#ended) this.#socket?.send(text)
  }

  /** Gives the connection up now: a peer that is gone would keep a closing handshake waiting. */
  fail(why: string): void {
    this.#socket?.close()
    this.#end(ABNORMAL, why)
  }

  close(): void {
    this.#ended = true
    this.#env.clearTimeout(this.#timer)
    this.#socket?.close(1000)
  }

  #open(): void {
    if (this.#ended) return
    this.#opened = true
    this.#env.clearTimeout(this.#timer)
    this.#handlers.open()
  }

  #message(data: unknown): void {
    if (this.#ended) return
    if (typeof data === 'string') this.#handlers.message(data)
    else this.#handlers.message(new Uint8Array(data as ArrayBuffer))
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#env.clearTimeout(this.#timer)
    this.#handlers.closed(code, reason, this.#opened)
  }
}

const SENTENCES: Record<number, string> = {
  1001: 'the gateway saw no sign of life from here',
  1006: 'the connection was lost',
  1008: 'an operator or a policy cut this connection',
  1009: 'a message was too large for the gateway',
  1012: 'the gateway is restarting',
  4401: 'the token has expired or was revoked',
  4403: 'not allowed',
  4429: 'too fast'
}

export function closeError(code: number, reason: string): FanoutError {
  const what = SENTENCES[code] ?? `closed with ${code}`
  return new FanoutError(`closed_${code}`, reason && code !== 1012 ? `${what}: ${reason}` : what, code)
}

/** Close codes after which the same connection would be cut again. 4401 is, without a way to a new token. */
export function isFinalClose(code: number, canRenewToken: boolean): boolean {
  return code === 1008 || code === 4403 || (code === 4401 && !canRenewToken)
}
