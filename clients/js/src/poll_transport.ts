import { before, formatCursor, parseCursor } from './cursor.js'
import { GroupTransport } from './group_transport.js'
import { groupUrl } from './groups.js'
import type { Envelope, StateNotice } from './payload.js'
import type { ChannelRequest } from './transport.js'

interface PollAnswer {
  events: Envelope[]
  /** One, or a list in the order of the request. */
  cursor: string
  /** The worst of all channels. */
  state: StateNotice['state']
  states?: Record<string, StateNotice['state']>
}

/** Long polling: works through everything that lets a GET pass. */
export class PollTransport extends GroupTransport {
  readonly name = 'poll'

  protected async run(group: ChannelRequest[], run: AbortController): Promise<void> {
    const { http, timing } = this.context
    const told = new Set<string>()
    try {
      while (!this.gone(run)) {
        // The first answer says where each channel stands, so nobody should wait for it.
        const wait = told.size ? timing.pollWaitS : 0
        const url = groupUrl(http, 'poll', group, [['wait', String(wait)]])
        const { body } = await http.json(url, { timeoutMs: wait * 1000 + timing.connectTimeoutMs, signal: run.signal })
        if (this.gone(run)) return
        this.opened()
        this.#deliver(group, body, told)
      }
    } catch (error) {
      this.failed(run, error, 0)
    }
  }

  /** In the order of a stream: where each channel stands, its events, where it stands now. */
  #deliver(group: ChannelRequest[], answer: PollAnswer, told: Set<string>): void {
    const { sink } = this.context
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
