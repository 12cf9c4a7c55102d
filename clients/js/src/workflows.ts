import type { Http } from './http.js'

export interface StartedRun {
  runId: string
  tag: string
  status: 'running'
  createdMs: number
}

export interface StartOptions {
  /** Whose run it is: who is told of it. */
  username: string
  /** Any JSON; what the workflow makes of it is its own. */
  inputs?: unknown
}

export interface ApproveOptions {
  /** Who decides. */
  username: string
  /** false rejects. Default true. */
  approved?: boolean
  comment?: string
  /** Any JSON, for the nodes behind. */
  data?: unknown
}

/** A header carries bytes, and fetch takes them one a character: a name beyond Latin-1 goes as UTF-8. */
function asUser(username: string): Record<string, string> {
  return { 'x-user-id': String.fromCharCode(...new TextEncoder().encode(username)) }
}

/** Not repeated when no answer came: it may have been started, and would be twice. */
export async function startRun(http: Http, tag: string, { username, inputs }: StartOptions): Promise<StartedRun> {
  const { body } = await http.json(http.url('api/v1/runs'), {
    method: 'POST', headers: asUser(username), body: { tag, ...(inputs !== undefined && { inputs }) }
  })
  return { runId: body.run_id, tag: body.tag, status: body.status, createdMs: body.created_ms }
}

export async function cancelRun(http: Http, runId: string, username: string): Promise<void> {
  await http.json(http.url(`api/v1/runs/${encodeURIComponent(runId)}/cancel`), { method: 'POST', headers: asUser(username), body: {} })
}

export async function approve(http: Http, runId: string, nodeId: string, options: ApproveOptions): Promise<'approved' | 'rejected'> {
  const { username, approved = true, comment, data } = options
  const { body } = await http.json(http.url('api/approval'), {
    method: 'POST',
    headers: asUser(username),
    body: { run_id: runId, node_id: nodeId, approved, ...(comment !== undefined && { comment }), ...(data !== undefined && { data }) }
  })
  return body.status
}

export async function result<T>(http: Http, reference: string): Promise<T> {
  return (await http.json(http.url(`api/v1/results/${encodeURIComponent(reference)}`))).body
}
