import { FanoutError } from './errors.js'
import { GroupTransport } from './group_transport.js'
import { groupUrl } from './groups.js'
import { parseJson } from './payload.js'
import { SseDecoder, type SseMessage } from './sse.js'
import type { ChannelRequest } from './transport.js'

/**
 * Server-sent events over fetch, which exists everywhere and says why it was refused; EventSource
 * does neither.
 */
export class SseTransport extends GroupTransport {
  readonly name = 'sse'

  protected async run(group: ChannelRequest[], stream: AbortController): Promise<void> {
    const { env, http, timing } = this.context
    const decoder = new SseDecoder()
    let timer: unknown
    const expect = (ms: number) => {
      env.clearTimeout(timer)
      timer = env.setTimeout(() => stream.abort(new FanoutError('timeout', `the stream was silent for ${ms} ms`)), ms)
    }
    try {
      expect(timing.connectTimeoutMs)
      const response = await http.open(groupUrl(http, 'sse', group), 'text/event-stream', stream.signal)
      if (this.gone(stream)) return
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
        throw new FanoutError('bad_stream', 'the answer is no event stream')
      }
      this.opened()
      const reader = response.body!.getReader()
      const text = new TextDecoder()
      for (;;) {
        expect(2 * timing.pingAfterMs)
        const { done, value } = await reader.read()
        if (this.gone(stream)) return
        if (done) throw new FanoutError('ended', 'the stream ended')
        for (const message of decoder.push(text.decode(value, { stream: true }))) this.#message(message)
      }
    } catch (error) {
      this.failed(stream, stream.signal.aborted ? stream.signal.reason : error, decoder.retryMs)
    } finally {
      env.clearTimeout(timer)
      stream.abort()
    }
  }

  #message({ event, data }: SseMessage): void {
    const { sink } = this.context
    const value = parseJson(data, `an event of the stream`)
    if (event === 'message') for (const envelope of Array.isArray(value) ? value : [value]) sink.event(envelope)
    else if (event === 'state') sink.state(value)
    else if (event === 'gap') sink.gap(value.gap ?? value)
  }
}
