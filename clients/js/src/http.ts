import type { Environment } from './environment.js'
import { asFanoutError, FanoutError } from './errors.js'

/** A JWT, or how to get one that is valid now; asked before every connection and request. */
export type TokenSource = string | (() => string | Promise<string>)

export interface HttpReply {
  status: number
  etag: string | null
  /** undefined for 304. */
  body: any
}

export interface HttpRequest {
  method?: 'GET' | 'POST'
  body?: unknown
  headers?: Record<string, string>
  etag?: string | null | undefined
  timeoutMs?: number
  signal?: AbortSignal | undefined
}

const TIMEOUT_MS = 10_000

/** Requests to one gateway: addresses, token, time-out, and errors that say what was wrong. */
export class Http {
  readonly #env: Environment
  readonly #base: URL
  readonly #token: TokenSource | undefined

  constructor(env: Environment, base: string, token?: TokenSource) {
    this.#env = env
    this.#base = new URL(base)
    this.#token = token
    if (this.#base.protocol === 'ws:') this.#base.protocol = 'http:'
    if (this.#base.protocol === 'wss:') this.#base.protocol = 'https:'
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/'
  }

  /** `path` is relative to the base, so that a gateway may live below a prefix. */
  url(path: string, query: readonly (readonly [string, string])[] = []): string {
    const url = new URL(path.replace(/^\//, ''), this.#base)
    for (const [name, value] of query) url.searchParams.append(name, value)
    return url.href
  }

  wsUrl(path: string, query: readonly (readonly [string, string])[] = []): string {
    return this.url(path, query).replace(/^http/, 'ws')
  }

  async token(): Promise<string | undefined> {
    return typeof this.#token === 'function' ? await this.#token() : this.#token
  }

  get canRenewToken(): boolean {
    return typeof this.#token === 'function'
  }

  /** A response whose body the caller reads; throws unless its status is good. */
  async open(url: string, accept: string, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept }
    const token = await this.token()
    if (token) headers['authorization'] = `Bearer ${token}`
    const response = await this.#env.fetch(url, { headers, signal, cache: 'no-store' })
    if (!response.ok) throw await refusal(response)
    return response
  }

  async json(url: string, { method = 'GET', body, headers: own, etag, timeoutMs = TIMEOUT_MS, signal }: HttpRequest = {}): Promise<HttpReply> {
    const abort = new AbortController()
    const stop = () => abort.abort()
    const timer = this.#env.setTimeout(stop, timeoutMs)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted) stop()
    try {
      const headers: Record<string, string> = { accept: 'application/json', ...own }
      const token = await this.token()
      if (token) headers['authorization'] = `Bearer ${token}`
      if (etag) headers['if-none-match'] = etag
      if (body !== undefined) headers['content-type'] = 'application/json'
      const response = await this.#env.fetch(url, {
        method, headers, signal: abort.signal, cache: 'no-store',
        ...(body !== undefined && { body: JSON.stringify(body) })
      })
      if (response.status === 304) return { status: 304, etag: etag ?? null, body: undefined }
      if (!response.ok) throw await refusal(response)
      return { status: response.status, etag: response.headers.get('etag'), body: await response.json() }
    } catch (error) {
      throw asFanoutError(error)
    } finally {
      this.#env.clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
  }
}

/** The gateway's own sentence, or at least the status. */
async function refusal(response: Response): Promise<FanoutError> {
  try {
    const { error } = await response.json() as { error: { code: string; message: string } }
    return new FanoutError(error.code, error.message, response.status)
  } catch {
    return new FanoutError('http', `status ${response.status}`, response.status)
  }
}
