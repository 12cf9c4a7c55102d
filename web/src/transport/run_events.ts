import type { Fetch } from 'fanout-client'

interface HistoryPage {
  events: { cursor: string; data: unknown }[]
  cursor: string
  more: boolean
}

const PATH = /^\/api\/v1\/runs\/([^/]+)\/events$/
const OUTCOMES: Record<string, string> = {
  workflow_completed: 'completed', workflow_failed: 'failed', workflow_cancelled: 'cancelled'
}

/**
 * Answers `GET /api/v1/runs/{id}/events` from the history of the user's channel where the gateway does not know
 * the run: events that somebody published without a coordinator are in no run's list, but they are kept.
 */
export function withRunEvents(fetch: Fetch, username: () => string): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init)
    const [, runId] = PATH.exec(new URL(url).pathname) ?? []
    if (response.status !== 404 || runId === undefined) return response
    const events = await ofRun(fetch, new URL(url).origin, username(), decodeURIComponent(runId), init)
    if (!events?.length) return response
    const outcome = events.map(({ type }) => OUTCOMES[String(type)]).findLast(Boolean)
    return Response.json({ run_id: decodeURIComponent(runId), events, status: outcome ?? 'running' })
  }
}

async function ofRun(
  fetch: Fetch, origin: string, username: string, runId: string, init?: RequestInit
): Promise<Record<string, unknown>[] | undefined> {
  const events: Record<string, unknown>[] = []
  for (let since = 'begin', more = true; more;) {
    const path = `/api/v1/channels/${encodeURIComponent(`user:${username}`)}/history`
    const response = await fetch(`${origin}${path}?since=${encodeURIComponent(since)}&limit=1000`, { signal: init?.signal ?? null, cache: 'no-store' })
    if (!response.ok) return undefined
    const page = await response.json() as HistoryPage
    for (const { data } of page.events) {
      if ((data as { run_id?: unknown } | null)?.run_id === runId) events.push(data as Record<string, unknown>)
    }
    ({ cursor: since, more } = page)
  }
  return events
}
