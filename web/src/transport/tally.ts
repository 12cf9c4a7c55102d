/** What came over the wire, counted where it arrives, beneath the client library. */
export interface TallyFigures {
  /** Different events that have arrived, by whichever way. */
  received: number
  /** Copies beyond the first: the client shows each event once. */
  duplicates: number
  /** Events whose first copy came by a request and not over the WebSocket. */
  healed: number
  /** Requests for events: long polls, polls of a run, history. */
  polls: number
  /** WebSocket messages that the switch on this page threw away. */
  lost: number
}

interface Item {
  cursor?: string
  data: unknown
}

const EMPTY: TallyFigures = { received: 0, duplicates: 0, healed: 0, polls: 0, lost: 0 }
/** Events remembered, to know a copy when it comes. */
const KNOWN_MAX = 50_000
const POLLS = [/^\/poll$/, /^\/api\/v1\/runs\/[^/]+\/events$/, /^\/api\/v1\/channels\/[^/]+\/history$/]

/**
 * An event has a cursor where it came on a channel, and none in the list of a run. There it is recognised by its
 * content, counted: the second of two equal events is as real as the first.
 */
export class Tally {
  #figures = EMPTY
  #cursors = new Set<string>()
  /** By content: how many came with a cursor, and how many are known at all. */
  #contents = new Map<string, { withCursor: number; known: number }>()
  readonly #listeners = new Set<() => void>()
  #telling = false

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  readonly get = (): TallyFigures => this.#figures

  reset(): void {
    this.#cursors.clear()
    this.#contents.clear()
    this.#add(Object.fromEntries(Object.entries(this.#figures).map(([name, n]) => [name, -n])))
  }

  lostMessage(): void {
    this.#add({ lost: 1 })
  }

  /** A message of the WebSocket: an event, or several (batch_ms), or an answer. */
  frame(data: unknown): void {
    if (typeof data !== 'string') return
    const frame = parse(data)
    for (const one of Array.isArray(frame) ? frame : [frame]) {
      const { channel, cursor, data: payload } = (one ?? {}) as Record<string, unknown>
      if (typeof channel === 'string' && typeof cursor === 'string' && payload !== undefined) {
        this.#withCursor(`${channel} ${cursor}`, payload, false)
      }
    }
  }

  async response(url: URL, response: Response): Promise<void> {
    if (!POLLS.some((path) => path.test(url.pathname))) return
    this.#add({ polls: 1 })
    if (response.status !== 200) return
    const body = parse(await response.clone().text().catch(() => '')) as
      { channel?: string; run_id?: string; events?: unknown[] } | undefined
    const events = body?.events ?? []
    if (body?.run_id !== undefined) this.#list(events)
    else for (const { channel = body?.channel, cursor, data } of events as (Item & { channel?: string })[]) {
      this.#withCursor(`${channel} ${cursor}`, data, true)
    }
  }

  #withCursor(place: string, data: unknown, polled: boolean): void {
    if (this.#cursors.has(place)) {
      this.#add({ duplicates: 1 })
      return
    }
    if (this.#cursors.size >= KNOWN_MAX) {
      this.#cursors.clear()
      this.#contents.clear()
    }
    this.#cursors.add(place)
    const content = this.#content(data)
    content.withCursor++
    if (content.withCursor <= content.known) this.#add({ duplicates: 1 })
    else {
      content.known++
      this.#add({ received: 1, ...(polled && { healed: 1 }) })
    }
  }

  #list(events: unknown[]): void {
    const counts = new Map<string, { times: number; data: unknown }>()
    for (const data of events) {
      const key = JSON.stringify(data)
      const entry = counts.get(key) ?? { times: 0, data }
      entry.times++
      counts.set(key, entry)
    }
    for (const { times, data } of counts.values()) {
      const content = this.#content(data)
      const news = Math.max(0, times - content.known)
      content.known += news
      this.#add({ received: news, healed: news, duplicates: times - news })
    }
  }

  #content(data: unknown): { withCursor: number; known: number } {
    const key = JSON.stringify(data) ?? ''
    const content = this.#contents.get(key) ?? { withCursor: 0, known: 0 }
    this.#contents.set(key, content)
    return content
  }

  #add(change: Partial<TallyFigures>): void {
    const sum = { ...this.#figures }
    for (const [name, n] of Object.entries(change)) sum[name as keyof TallyFigures] += n
    this.#figures = sum
    if (this.#telling) return
    this.#telling = true
    requestAnimationFrame(() => {
      this.#telling = false
      for (const listener of this.#listeners) listener()
    })
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
