import type { RunStatus } from 'fanout-client'

/** The coordinator's HTTP API: docs/workflows.md says what each member means. */
export interface Workflow {
  tag: string
  description?: string
  nodes?: number
  types?: string[]
  /** Why it cannot be run; then nothing else is known of it. */
  fault?: string
}

export interface Definition {
  description?: string
  example_inputs?: unknown
}

/** A line of the list of runs. */
export interface RecentRun {
  run_id: string
  tag: string
  user: string
  status: RunStatus
  created_ms: number
}

export type NodeState = 'idle' | 'queued' | 'waiting' | 'backoff' | 'completed' | 'failed' | 'skipped'

export interface NodeDetail {
  id: string
  type: string
  state: NodeState
  visits: number
  attempt: number
  max_attempts: number
  queued_ms: number | null
  finished_ms: number | null
  result_ref: string | null
  error: string | null
  /** Of the attempt under way, if its worker says. */
  percent?: number | null
  waits_for: 'approval' | 'delay' | null
  due_ms: number | null
}

export interface EdgeDetail {
  from: string
  to: string
  when?: unknown
  /** Only of a loop edge, which leads back. */
  max_iterations?: number
  /** Of every other edge. */
  state?: 'open' | 'taken' | 'skipped'
  iterations?: number
}

export interface RunDetail {
  run_id: string
  tag: string
  user: string
  status: RunStatus
  created_ms: number
  finished_ms: number | null
  inputs_ref: string
  error: string | null
  failed_node: string | null
  cancelled_by: string | null
  nodes: NodeDetail[]
  edges: EdgeDetail[]
}

/** What was asked did not happen; the message is a sentence. */
export class FlowError extends Error {
  /** status: HTTP's; undefined: nobody answered. */
  constructor(message: string, readonly status?: number) {
    super(message)
  }
}

const TIMEOUT_MS = 10_000

interface Request {
  method?: 'GET' | 'POST'
  /** On whose behalf. */
  user?: string
  body?: unknown
}

/** A header carries bytes, and fetch() takes them one a character: a name beyond Latin-1 goes as UTF-8. */
const asBytes = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text))

async function ask<T>(path: string, { method = 'GET', user, body }: Request = {}): Promise<T> {
  let response: Response
  try {
    response = await fetch(path, {
      method,
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        ...(user !== undefined && { 'X-User-ID': asBytes(user) }),
        ...(body !== undefined && { 'Content-Type': 'application/json' })
      },
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
  } catch {
    throw new FlowError(method === 'GET' ? 'The gateway does not answer.' : 'The gateway does not answer; it is not known whether it was done.')
  }
  const answer = await response.json().catch(() => undefined) as T & { error?: { message?: unknown } | null } | undefined
  if (!response.ok || answer === undefined) {
    const message = answer?.error?.message
    throw new FlowError(typeof message === 'string' ? sentence(message) : `The gateway answered ${response.status}.`, response.status)
  }
  return answer
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}

const id = encodeURIComponent

export const flowApi = {
  workflows: async (): Promise<Workflow[]> => (await ask<{ workflows: Workflow[] }>('/api/v1/workflows')).workflows,

  definition: async (tag: string): Promise<Definition> => (await ask<{ definition: Definition }>(`/api/v1/workflows/${id(tag)}`)).definition,

  /** Newest first; `next` leads to older ones. */
  runs: (user: string, limit: number, after?: string | null): Promise<{ runs: RecentRun[]; next: string | null }> =>
    ask(`/api/v1/runs?${new URLSearchParams({ user, limit: String(limit), ...(after && { after }) })}`),

  run: (runId: string): Promise<RunDetail> => ask(`/api/v1/runs/${id(runId)}`),

  start: (tag: string, inputs: unknown, user: string): Promise<RecentRun> =>
    ask('/api/v1/runs', { method: 'POST', user, body: { tag, ...(inputs !== undefined && { inputs }) } }),

  cancel: (runId: string, user: string): Promise<unknown> => ask(`/api/v1/runs/${id(runId)}/cancel`, { method: 'POST', user, body: {} }),

  decide: (runId: string, nodeId: string, approved: boolean, comment: string, user: string): Promise<unknown> =>
    ask('/api/approval', { method: 'POST', user, body: { run_id: runId, node_id: nodeId, approved, ...(comment && { comment }) } }),

  /** A reference names its content: what was read once stays so. */
  result: (ref: string): Promise<unknown> => ask(`/api/v1/results/${id(ref)}`)
}
