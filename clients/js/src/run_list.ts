/** An event of a workflow run, as the coordinator publishes it; more members may be there. */
export interface WorkflowEvent {
  type: string
  run_id: string
  timestamp?: number
  node_id?: string
  [member: string]: unknown
}

export type RunStatus = 'running' | 'completed' | 'failed' | 'cancelled'

const TERMINAL: Record<string, RunStatus> = {
  workflow_completed: 'completed',
  workflow_failed: 'failed',
  workflow_cancelled: 'cancelled'
}

/** What a run has come to by this event; undefined when it goes on. */
export function terminalStatus(event: { type?: unknown }): RunStatus | undefined {
  return Object.hasOwn(TERMINAL, String(event.type)) ? TERMINAL[String(event.type)] : undefined
}

/**
 * The events of one run out of two sources that know nothing of each other: bare messages of a socket,
 * and the complete list of a poll, which replaces what is here.
 *
 * Without cursors an event is recognised by its content, counted: the second of two equal events is as
 * real as the first. A message that arrives after a poll listed it is not appended again; one that arrived
 * while a poll was under way, too late to be in its answer, is kept behind it.
 */
export class RunList {
  #events: readonly WorkflowEvent[] = []
  #polled = new Map<string, number>()
  readonly #received = new Map<string, number>()
  #sincePoll: WorkflowEvent[] = []

  /** A new array after every change. */
  get events(): readonly WorkflowEvent[] {
    return this.#events
  }

  get status(): RunStatus {
    for (let i = this.#events.length - 1; i >= 0; i--) {
      const status = terminalStatus(this.#events[i]!)
      if (status) return status
    }
    return 'running'
  }

  /** A message of the socket. False: a poll had listed it. */
  receive(event: WorkflowEvent): boolean {
    const key = JSON.stringify(event)
    const count = (this.#received.get(key) ?? 0) + 1
    this.#received.set(key, count)
    this.#sincePoll.push(event)
    if (count <= (this.#polled.get(key) ?? 0)) return false
    this.#events = [...this.#events, event]
    return true
  }

  /** A poll is about to ask. */
  pollBegins(): void {
    this.#sincePoll = []
  }

  /** Its answer. True: it brought something that was not here. */
  replace(list: readonly WorkflowEvent[]): boolean {
    const before = count(this.#events)
    this.#polled = count(list)
    const excess = new Map<string, number>()
    const late = [...this.#sincePoll].reverse().filter((event) => {
      const key = JSON.stringify(event)
      const left = excess.get(key) ?? (this.#received.get(key) ?? 0) - (this.#polled.get(key) ?? 0)
      excess.set(key, left - 1)
      return left > 0
    })
    this.#sincePoll = []
    this.#events = [...list, ...late.reverse()]
    for (const [key, n] of this.#polled) if (n > (before.get(key) ?? 0)) return true
    return false
  }
}

function count(events: readonly WorkflowEvent[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const event of events) {
    const key = JSON.stringify(event)
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}
