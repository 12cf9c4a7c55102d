import { asFanoutError, FanoutError } from './errors.js'
import { Groups, groupUrl } from './groups.js'
import { parseJson } from './payload.js'
import { SseDecoder, type SseMessage } from './sse.js'
import type { ChannelRequest, Transport, TransportContext } from './transport.js'

/**
 * Server-sent events over fetch, which exists everywhere and says why it was refused; EventSource
 * does neither. A change of the channels opens the stream anew: each continues at its own cursor.
 */
export class SseTransport implements Transport {
  readonly name = 'sse'
  readonly history = undefined

  readonly #context: TransportContext
  readonly #groups: Groups
  #streams: AbortController[] = []
  #opened = false
  #closed = false

  constructor(context: TransportContext) {
    this.#context = context
    this.#groups = new Groups(context.env, () => this.#reopen())
  }

  subscribe(request: ChannelRequest): void {
    this.#groups.add(request)
  }

  unsubscribe(channel: string): void {
    this.#groups.remove(channel)
  }

  close(): void {
    this.#closed = true
    this.#groups.close()
    this.#abort()
  }

  #abort(): void {
    for (const stream of this.#streams) stream.abort()
    this.#streams = []
  }

  #reopen(): void {
    this.#abort()
    for (const group of this.#groups.list()) {
      const stream = new AbortController()
      this.#streams.push(stream)
      void this.#run(group, stream)
    }
  }

  async #run(group: ChannelRequest[], stream: AbortController): Promise<void> {
    const { env, http, sink, timing } = this.#context
    const decoder = new SseDecoder()
    let timer: unknown
    const expect = (ms: number) => {
      env.clearTimeout(timer)
      timer = env.setTimeout(() => stream.abort(new FanoutError('timeout', `the stream was silent for ${ms} ms`)), ms)
    }
    try {
      expect(timing.connectTimeoutMs)
      const response = await http.open(groupUrl(http, 'sse', group), 'text/event-stream', stream.signal)
      if (this.#gone(stream)) return
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
        throw new FanoutError('bad_stream', 'the answer is no event stream')
      }
      this.#opened = true
      sink.opened()
      const reader = response.body!.getReader()
      const text = new TextDecoder()
      for (;;) {
        expect(2 * timing.pingAfterMs)
        const { done, value } = await reader.read()
        if (this.#gone(stream)) return
        if (done) throw new FanoutError('ended', 'the stream ended')
        for (const message of decoder.push(text.decode(value, { stream: true }))) this.#message(message)
      }
    } catch (error) {
      if (this.#streams.includes(stream)) this.#fail(stream.signal.aborted ? stream.signal.reason : error, decoder.retryMs)
    } finally {
      env.clearTimeout(timer)
      stream.abort()
    }
  }

  /** Replaced or closed while it was waiting. */
  #gone(stream: AbortController): boolean {
    return this.#closed || !this.#streams.includes(stream)
  }

  #fail(error: unknown, retryMs: number): void {
    if (this.#closed) return
    this.close()
    this.#context.sink.closed({ opened: this.#opened, retryMs, error: asFanoutError(error) })
  }

  #message({ event, data }: SseMessage): void {
    const { sink } = this.#context
    const value = parseJson(data, `an event of the stream`)
    if (event === 'message') for (const envelope of Array.isArray(value) ? value : [value]) sink.event(envelope)
    else if (event === 'state') sink.state(value)
    else if (event === 'gap') sink.gap(value.gap ?? value)
  }
}
