// Sample events: what a coordinator publishes while it runs a workflow, published from this page. They travel through the
// gateway like anybody's; only their author is not a coordinator.

export type SampleKind = 'completes' | 'fails'

/** Milliseconds behind the start, and the event without what all have in common. */
type Step = [ms: number, event: Record<string, unknown>]

const started = (node_id: string, attempt = 1): Record<string, unknown> => ({ type: 'node_started', node_id, attempt })
const progress = (node_id: string, percent: number, message: string): Record<string, unknown> =>
  ({ type: 'node_progress', node_id, percent, message })
const completed = (node_id: string, counter: number): Record<string, unknown> =>
  ({ type: 'node_completed', node_id, status: 'completed', counter, result_ref: `sha256:${hex(32)}` })
const failed = (node_id: string, attempt: number, error: string, will_retry: boolean): Record<string, unknown> =>
  ({ type: 'node_failed', node_id, status: 'failed', attempt, error, will_retry })

const BEGINNING: Step[] = [
  [0, { type: 'workflow_started', tag: 'flight-search', nodes: 5, entry_nodes: 1 }],
  [150, started('parse_request')],
  [1000, completed('parse_request', 2)],
  [1100, started('search_flights')],
  [1200, started('search_hotels')],
  [2300, progress('search_flights', 40, '3 of 8 airlines answered')],
  [2900, failed('search_hotels', 1, 'upstream timed out after 1500 ms', true)],
  [3700, started('search_hotels', 2)],
  [4300, progress('search_flights', 85, '7 of 8 airlines answered')],
  [5200, completed('search_flights', 2)]
]

const ENDS: Record<SampleKind, Step[]> = {
  completes: [
    [6100, completed('search_hotels', 2)],
    [6300, started('rank_results')],
    [7700, progress('rank_results', 60, '212 combinations left')],
    [8900, completed('rank_results', 1)],
    [9050, started('notify_user')],
    [9800, completed('notify_user', 0)],
    [9900, { type: 'workflow_completed', counter: 0, duration_ms: 9900 }]
  ],
  fails: [
    [5900, failed('search_hotels', 2, 'upstream answered 503', true)],
    [6900, started('search_hotels', 3)],
    [8100, failed('search_hotels', 3, 'upstream answered 503', false)],
    [8300, { type: 'workflow_failed', node_id: 'search_hotels', error: 'search_hotels: upstream answered 503, 3 attempts', counter: 0, duration_ms: 8300 }]
  ]
}

function hex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** RFC 9562, version 7: sorts by time. */
export function uuidV7(): string {
  const time = Date.now().toString(16).padStart(12, '0')
  const random = hex(10)
  const variant = (8 + (Number.parseInt(random[3]!, 16) & 3)).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`
}

const sleep = (ms: number): Promise<void> => new Promise((done) => { setTimeout(done, ms) })

/** Publishes a payload as it is; throws with the gateway's sentence. */
export async function publishRaw(channel: string, payload: string): Promise<string | null> {
  let response: Response
  try {
    response = await fetch(`/api/v1/channels/${encodeURIComponent(channel)}`, { method: 'POST', body: payload })
  } catch {
    throw new Error('The gateway does not answer; nothing was published.')
  }
  const body = await response.json().catch(() => undefined) as
    { results?: { cursor: string | null; error?: { message: string } }[]; error?: { message: string } } | undefined
  const problem = body?.error ?? body?.results?.[0]?.error
  if (!response.ok || problem) throw new Error(problem?.message ?? `The gateway answered ${response.status}.`)
  return body?.results?.[0]?.cursor ?? null
}

/** Publishes a whole run, in its own time. Returns its id at once; `done` settles behind the last event. */
export function publishSample(username: string, kind: SampleKind): { runId: string; done: Promise<void> } {
  const runId = uuidV7()
  const publish = async (): Promise<void> => {
    const begin = performance.now()
    for (const [ms, event] of [...BEGINNING, ...ENDS[kind]]) {
      await sleep(begin + ms - performance.now())
      const now = Date.now()
      const { type, ...members } = event
      await publishRaw(`user:${username}`, JSON.stringify({
        type, run_id: runId, ...members, timestamp: Math.floor(now / 1000), timestamp_ms: now, sample: true
      }))
    }
  }
  return { runId, done: publish() }
}

const BURST_WIDTH = 8

/** Many small events, as fast as requests go. */
export async function publishBurst(username: string, count: number): Promise<void> {
  let next = 0
  const one = async (): Promise<void> => {
    while (next < count) {
      const n = next++
      await publishRaw(`user:${username}`, JSON.stringify({ type: 'burst', n, of: count, timestamp: Math.floor(Date.now() / 1000) }))
    }
  }
  await Promise.all(Array.from({ length: BURST_WIDTH }, one))
}
