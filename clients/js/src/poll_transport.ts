import { before, formatCursor, parseCursor } from './cursor.js'
import { asFanoutError } from './errors.js'
import { Groups, groupUrl } from './groups.js'
import type { Envelope, StateNotice } from './payload.js'
import type { ChannelRequest, Transport, TransportContext } from './transport.js'

interface PollAnswer {
  events: Envelope[]
  /** One, or a list in the order of the request. */
  cursor: string
  /** The worst of all channels. */
  state: StateNotice['state']
  states?: Record<string, StateNotice['state']>
}

/** Long polling: works through everything that lets a GET pass. */
export class PollTransport implements Transport {
  readonly name = 'poll'
  readonly history = undefined

  readonly #context: TransportContext
  readonly #groups: Groups
  #loops: AbortController[] = []
  #opened = false
  #closed = false

  constructor(context: TransportContext) {
    this.#context = context
    this.#groups = new Groups(context.env, () => this.#restart())
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
    for (const loop of this.#loops) loop.abort()
    this.#loops = []
  }

  #restart(): void {
    this.#abort()
    for (const group of this.#groups.list()) {
      const loop = new AbortController()
      this.#loops.push(loop)
      void this.#run(group, loop)
    }
  }

  async #run(group: ChannelRequest[], loop: AbortController): Promise<void> {
    const { http, sink, timing } = this.#context
    const told = new Set<string>()
    try {
      while (!this.#closed && !loop.signal.aborted) {
        // The first answer says where each channel stands, so nobody should wait for it.
        const wait = told.size ? timing.pollWaitS : 0
        const url = groupUrl(http, 'poll', group, [['wait', String(wait)]])
        const { body } = await http.json(url, { timeoutMs: wait * 1000 + timing.connectTimeoutMs, signal: loop.signal })
        if (this.#closed || loop.signal.aborted) return
        if (!this.#opened) {
          this.#opened = true
          sink.opened()
        }
        this.#deliver(group, body, told)
      }
    } catch (error) {
      if (this.#closed || loop.signal.aborted) return
      this.close()
      sink.closed({ opened: this.#opened, retryMs: 0, error: asFanoutError(error) })
    }
  }

  /** In the order of a stream: where each channel stands, its events, where it stands now. */
  #deliver(group: ChannelRequest[], answer: PollAnswer, told: Set<string>): void {
    const { sink } = this.#context
    const cursors = answer.cursor.split(',')
    const ends: StateNotice[] = []
    group.forEach((request, i) => {
      const { channel } = request
      const end = cursors[i]
      if (!end || end === '-') return
      const state = answer.states?.[channel] ?? ownState(answer.state, request.since(), end)
      const first = parseCursor(answer.events.find((event) => event.channel === channel)?.cursor)
      if (!told.has(channel) || state === 'reset') sink.state({ channel, state, cursor: first ? formatCursor(before(first)) : end })
      told.add(channel)
      ends.push({ channel, state: 'live', cursor: end })
    })
    for (const event of answer.events) sink.event(event)
    for (const end of ends) sink.state(end) // A filter may have moved it past the last event.
  }
}

/** With several channels the answer may name only the worst state: of whom it is, the epoch tells. */
function ownState(worst: StateNotice['state'], since: string | undefined, end: string): StateNotice['state'] {
  if (worst !== 'reset') return worst
  const [asked, got] = [parseCursor(since), parseCursor(end)]
  return asked && got && asked.epoch === got.epoch ? 'replayed' : 'reset'
}
