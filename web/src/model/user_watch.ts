import type { ConnectionState, FanoutClient, WorkflowEvent } from 'fanout-client'
import { timeOf, type TimedEvent } from './run'

/** A line of the list: something published, or a notice of ours. */
export interface Message {
  id: number
  at: number
  cursor: string | undefined
  data: unknown
  notice?: string
}

export interface WatchedRun {
  runId: string
  events: readonly TimedEvent[]
}

export interface UserView {
  state: ConnectionState
  /** The gateway has answered once: an empty list is empty, and not merely early. */
  ready: boolean
  /** Oldest first, the last MESSAGES_MAX. */
  messages: readonly Message[]
  total: number
  /** Newest first. */
  runs: readonly WatchedRun[]
}

export const MESSAGES_MAX = 1000
const RUNS_MAX = 50
const RUN_EVENTS_MAX = 1000
/** One drawing for all that comes within a frame. */
const GATHER_MS = 16

export const NOBODY: UserView = { state: 'catching-up', ready: false, messages: [], total: 0, runs: [] }

/** Everything that is published for one user, from what is kept to what comes, and the runs it tells of. */
export class UserWatch {
  readonly #stop: () => void
  readonly #listeners = new Set<() => void>()
  #view: UserView = NOBODY
  #messages: Message[] = []
  #runs = new Map<string, TimedEvent[]>()
  #total = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(client: FanoutClient, username: string) {
    const feed = client.user(username, { since: 'begin' })
    this.#stop = feed.listen({
      onMessage: ({ data, cursor }) => this.#received(data, cursor),
      onReset: () => this.#notice('History no longer reaches back to here: events may be missing above this line.'),
      onState: (state) => this.#show({ ...this.#view, state, ready: this.#view.ready || state === 'live' || state === 'polling' })
    })
    this.#view = { ...NOBODY, state: feed.state }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#listeners.clear()
    this.#stop()
  }

  readonly get = (): UserView => this.#view

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  clear(): void {
    this.#messages = []
    this.#gather()
  }

  #received(data: unknown, cursor: string | undefined): void {
    const at = Date.now()
    this.#add({ id: ++this.#total, at, cursor, data })
    const event = data as WorkflowEvent | null
    if (typeof event?.run_id === 'string' && typeof event.type === 'string') this.#runEvent(event, at)
  }

  #runEvent(event: WorkflowEvent, at: number): void {
    const timed = { event, time: timeOf(event, at) }
    const events = this.#runs.get(event.run_id) ?? []
    this.#runs.set(event.run_id, [...events.slice(-RUN_EVENTS_MAX), timed])
    if (this.#runs.size > RUNS_MAX) this.#runs.delete(this.#runs.keys().next().value!)
  }

  #notice(notice: string): void {
    if (this.#messages.length) this.#add({ id: ++this.#total, at: Date.now(), cursor: undefined, data: undefined, notice })
  }

  #add(message: Message): void {
    this.#messages.push(message)
    if (this.#messages.length > 2 * MESSAGES_MAX) this.#messages = this.#messages.slice(-MESSAGES_MAX)
    this.#gather()
  }

  #gather(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#show({
        ...this.#view,
        messages: this.#messages.slice(-MESSAGES_MAX),
        total: this.#total,
        runs: Array.from(this.#runs, ([runId, events]) => ({ runId, events })).toReversed()
      })
    }, GATHER_MS)
  }

  #show(view: UserView): void {
    this.#view = view
    for (const listener of this.#listeners) listener()
  }
}

/** When events of a list without cursors first came: the n-th of equal ones keeps its time. */
export class Arrivals {
  readonly #times = new Map<string, number[]>()

  timed(events: readonly WorkflowEvent[]): TimedEvent[] {
    const seen = new Map<string, number>()
    const now = Date.now()
    return events.map((event) => {
      const key = JSON.stringify(event)
      const index = seen.get(key) ?? 0
      seen.set(key, index + 1)
      const times = this.#times.get(key) ?? []
      this.#times.set(key, times)
      times[index] ??= now
      return { event, time: timeOf(event, times[index]) }
    })
  }
}
