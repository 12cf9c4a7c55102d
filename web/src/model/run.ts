import { terminalStatus, type RunStatus, type WorkflowEvent } from 'fanout-client'
import type { RunDetail } from './flow_api'

/** An event and when it happened, ms since 1970. */
export interface TimedEvent {
  event: WorkflowEvent
  time: number
}

export type SpanStatus = 'running' | 'completed' | 'failed' | 'waiting' | 'stopped'

/** One attempt of a node. */
export interface Span {
  attempt: number
  from: number
  /** undefined: still going on. */
  to: number | undefined
  status: SpanStatus
}

export interface Lane {
  nodeId: string
  spans: Span[]
  status: SpanStatus
  percent: number | undefined
  /** The last thing worth reading: progress, a question, an error. */
  note: string | undefined
}

export interface RunView {
  tag: string | undefined
  status: RunStatus
  /** Tokens in flight, as last told. */
  counter: number | undefined
  nodes: number | undefined
  nodesDone: number
  startedAt: number | undefined
  endedAt: number | undefined
  /** As the coordinator measured it, or between the first and the last event. */
  durationMs: number | undefined
  error: string | undefined
  lanes: Lane[]
}

const text = (value: unknown): string | undefined => typeof value === 'string' && value !== '' ? value : undefined
const number = (value: unknown): number | undefined => typeof value === 'number' && Number.isFinite(value) ? value : undefined

/** What a run looks like after these events. Types it does not know change nothing. */
export function viewOf(events: readonly TimedEvent[]): RunView {
  const view: RunView = {
    tag: undefined, status: 'running', counter: undefined, nodes: undefined, nodesDone: 0,
    startedAt: events[0]?.time, endedAt: undefined, durationMs: undefined, error: undefined, lanes: []
  }
  const lanes = new Map<string, Lane>()
  for (const { event, time } of events) {
    view.counter = number(event['counter']) ?? view.counter
    const status = terminalStatus(event)
    if (event.type === 'workflow_started') {
      view.tag = text(event['tag'])
      view.nodes = number(event['nodes'])
      view.startedAt = time
    } else if (status) {
      view.status = status
      view.endedAt = time
      view.durationMs = number(event['duration_ms'])
      view.error = text(event['error'])
    } else if (event.node_id !== undefined) {
      laneEvent(laneOf(lanes, String(event.node_id)), event, time)
    }
  }
  view.lanes = [...lanes.values()]
  view.nodesDone = view.lanes.filter((lane) => lane.status === 'completed').length
  if (view.endedAt !== undefined) for (const lane of view.lanes) stop(lane, view.endedAt)
  if (view.startedAt !== undefined && view.endedAt !== undefined) view.durationMs ??= view.endedAt - view.startedAt
  return view
}

/**
 * The view with the coordinator's own times, which are in ms where events of the past have whole seconds: of the run, and
 * of each node's present attempt.
 */
export function sharpened(view: RunView, detail: RunDetail): RunView {
  const nodes = new Map(detail.nodes.map((node) => [node.id, node]))
  return {
    ...view,
    startedAt: detail.created_ms,
    endedAt: view.endedAt === undefined ? undefined : detail.finished_ms ?? view.endedAt,
    lanes: view.lanes.map((lane) => {
      const node = nodes.get(lane.nodeId)
      const last = lane.spans.at(-1)
      const visits = lane.spans.filter(({ attempt }) => attempt === 1).length
      if (!last || !node?.queued_ms || node.visits !== visits || node.attempt !== last.attempt) return lane // One of the two is a step ahead.
      const to = last.to === undefined ? undefined : Math.max(node.queued_ms, node.finished_ms ?? last.to)
      return { ...lane, spans: [...lane.spans.slice(0, -1), { ...last, from: node.queued_ms, to }] }
    })
  }
}

function laneOf(lanes: Map<string, Lane>, nodeId: string): Lane {
  let lane = lanes.get(nodeId)
  if (!lane) {
    lane = { nodeId, spans: [], status: 'running', percent: undefined, note: undefined }
    lanes.set(nodeId, lane)
  }
  return lane
}

/** The attempt in hand; one that nobody announced begins now. */
function openSpan(lane: Lane, time: number): Span {
  const last = lane.spans.at(-1)
  if (last && last.to === undefined) return last
  const span: Span = { attempt: (last?.attempt ?? 0) + 1, from: time, to: undefined, status: 'running' }
  lane.spans.push(span)
  return span
}

function end(lane: Lane, time: number, status: SpanStatus): void {
  const span = openSpan(lane, time)
  span.to = Math.max(time, span.from)
  span.status = status
  lane.status = status
}

/** The run is over: whatever still went on goes on no more. */
function stop(lane: Lane, time: number): void {
  if (lane.spans.at(-1)?.to === undefined) end(lane, time, 'stopped')
  else if (lane.status === 'running' || lane.status === 'waiting') lane.status = 'stopped'
}

function laneEvent(lane: Lane, event: WorkflowEvent, time: number): void {
  switch (event.type) {
    case 'node_started': {
      const open = lane.spans.at(-1)
      if (open && open.to === undefined) end(lane, time, 'stopped')
      const span = openSpan(lane, time)
      span.attempt = number(event['attempt']) ?? span.attempt
      lane.status = 'running'
      lane.percent = undefined
      lane.note = undefined
      break
    }
    case 'node_progress':
      openSpan(lane, time)
      lane.percent = number(event['percent'])
      lane.note = text(event['message']) ?? lane.note
      break
    case 'node_completed':
      end(lane, time, 'completed')
      lane.percent = undefined
      lane.note = undefined
      break
    case 'node_failed':
      end(lane, time, 'failed')
      lane.note = text(event['error'])
      if (event['will_retry'] === true) lane.status = 'waiting'
      break
    case 'approval_requested':
      openSpan(lane, time).status = 'waiting'
      lane.status = 'waiting'
      lane.note = text(event['message'])
      break
    case 'approval_decided':
      openSpan(lane, time).status = 'running'
      lane.status = 'running'
      lane.note = event['approved'] === true ? 'approved' : 'rejected'
      break
    default:
  }
}

const LIVE_MS = 2500

/**
 * When an event happened. The contract's timestamp is in whole seconds, too coarse for a bar of half a second:
 * where the event came within that second or just behind it, its arrival is the better guess.
 */
export function timeOf(event: WorkflowEvent, arrivedAt: number): number {
  const exact = number(event['timestamp_ms'])
  if (exact !== undefined) return exact
  const seconds = number(event.timestamp)
  if (seconds === undefined) return arrivedAt
  const told = seconds * 1000
  if (!Number.isInteger(seconds)) return told
  return arrivedAt >= told && arrivedAt < told + LIVE_MS ? arrivedAt : told
}
