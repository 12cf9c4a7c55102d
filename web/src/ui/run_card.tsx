import { useEffect, useState, type ReactElement } from 'react'
import { flowApi, type RunDetail } from '../model/flow_api'
import { clock, duration } from '../model/format'
import { sharpened, type Lane, type RunView, type SpanStatus } from '../model/run'
import { Approvals } from './approvals'
import { Graph } from './graph'
import { Icon } from './icon'
import { NodePanel } from './node_panel'
import { useDetail, type FlowModel } from './use_flow'
import type { SelectedRun } from './use_runs'

const LEAST_MS = 4000
const TICKS = 5

export interface RunCardProps {
  selected: SelectedRun | undefined
  ready: boolean
  user: string
  flow: FlowModel
}

export function RunCard({ selected, ready, user, flow }: RunCardProps): ReactElement {
  const runId = selected?.runId
  // Only of runs that the coordinator has: a sample run is not known there.
  const { settled, detail } = useDetail(runId !== undefined && flow.watch?.knows(runId) ? runId : undefined, selected?.events.length ?? 0)
  const own = detail?.run_id === runId ? detail : undefined
  // Both at once, so that nothing moves when the graph comes.
  const told = selected?.events.length && settled ? selected.view : undefined
  const view = told && own ? sharpened(told, own) : told
  return (
    <section className="card run" aria-labelledby="run-title">
      <div className="card-head">
        <h2 id="run-title" className="clip">{view ? view.tag ?? 'Run' : 'Run'}</h2>
        {view && <span className="pill" data-status={view.status} role="status">{view.status}</span>}
        {view && own?.status === 'running' && view.status === 'running' && <Cancel key={runId} runId={own.run_id} user={user} />}
        <span className="hint mono clip end" title={selected?.runId}>{selected?.runId}</span>
      </div>
      {view ? <RunBody key={runId} view={view} detail={own} user={user} /> : (
        <div className="empty run-empty">
          <Icon name="play" />
          <p><strong>{!ready ? 'Connecting' : runId === undefined ? 'No run to show' : 'Reading the run'}</strong></p>
          <p>{!ready ? 'Reading what is kept for this user.' : runId === undefined ? `${flow.workflows.length ? 'Start a workflow or publish' : 'Publish'} a sample run, and watch its nodes start, progress and finish here.` : ''}</p>
        </div>
      )}
    </section>
  )
}

/** The present, while something is going on; drawn often enough to move, not with every frame. */
function useNow(going: boolean): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    if (!going) return undefined
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), 100)
    return () => clearInterval(timer)
  }, [going])
  return now
}

/** Two presses, the second within a few seconds: a run that is cancelled does not come back. */
function Cancel({ runId, user }: { runId: string; user: string }): ReactElement {
  const [asked, setAsked] = useState(false)
  const [problem, setProblem] = useState<string>()
  useEffect(() => {
    if (!asked) return undefined
    const timer = setTimeout(() => setAsked(false), 4000)
    return () => clearTimeout(timer)
  }, [asked])
  const press = async (): Promise<void> => {
    setProblem(undefined)
    setAsked(!asked)
    if (!asked) return
    try {
      await flowApi.cancel(runId, user)
    } catch (error) {
      setProblem((error as Error).message)
    }
  }
  return (
    <>
      <button type="button" className={asked ? 'small danger' : 'small'} onClick={() => void press()}>{asked ? 'Really cancel?' : 'Cancel'}</button>
      {problem && <span className="note bad clip" role="alert" title={problem}>{problem}</span>}
    </>
  )
}

function RunBody({ view, detail, user }: { view: RunView; detail: RunDetail | undefined; user: string }): ReactElement {
  const [nodeId, setNodeId] = useState<string>()
  const node = detail?.nodes.find(({ id }) => id === nodeId)
  const now = useNow(view.status === 'running')
  const start = view.startedAt ?? now
  const end = Math.max(view.endedAt ?? now, ...view.lanes.flatMap(({ spans }) => spans.map(({ from, to }) => to ?? from)))
  const scale = Math.max(LEAST_MS, end - start)
  const percent = (time: number): number => Math.min(100, Math.max(0, (time - start) / scale * 100))
  const skipped = detail?.nodes.filter(({ state }) => state === 'skipped').length
  const facts: [string, string][] = [
    ['Tokens in flight', view.counter === undefined ? '–' : String(view.counter)],
    [skipped ? `Nodes done, ${skipped} skipped` : 'Nodes done', view.nodes === undefined ? String(view.nodesDone) : `${view.nodesDone} of ${view.nodes}`],
    ['Duration', duration(view.durationMs ?? Math.max(0, end - start))],
    ['Started', clock(start, false)]
  ]
  return (
    <>
      <dl className="facts">{facts.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
      {detail && <Approvals detail={detail} view={view} user={user} />}
      {detail && <Graph detail={detail} now={now} selected={nodeId} onSelect={setNodeId} />}
      {node && <NodePanel key={node.id} node={node} now={now} onClose={() => setNodeId(undefined)} />}
      <div className="timeline">
        <div className="axis" aria-hidden="true">
          <span className="lane-name" />
          <span className="lane-track">
            {Array.from({ length: TICKS }, (_, i) => (
              <i key={i} style={{ left: `${i / (TICKS - 1) * 100}%` }}>{i === 0 ? '0' : duration(scale * i / (TICKS - 1))}</i>
            ))}
          </span>
        </div>
        <ol className="lanes" aria-label="Nodes">
          {view.lanes.map((lane) => <LaneRow key={lane.nodeId} lane={lane} now={now} percent={percent} />)}
        </ol>
      </div>
      <p className={view.error ? 'note bad' : 'note'}>{view.error ?? ' '}</p>
    </>
  )
}

const WORDS: Record<SpanStatus, string> = {
  running: 'running', completed: 'completed', failed: 'failed', waiting: 'waiting', stopped: 'stopped'
}

function LaneRow({ lane, now, percent }: { lane: Lane; now: number; percent(time: number): number }): ReactElement {
  const last = lane.spans.at(-1)
  const took = lane.spans.reduce((sum, { from, to }) => sum + (to ?? Math.max(now, from)) - from, 0)
  const visits = lane.spans.filter(({ attempt }) => attempt === 1).length
  const detail = lane.note ?? (last && last.attempt > 1 ? `attempt ${last.attempt}` : visits > 1 ? `visit ${visits}` : '')
  return (
    <li className="lane" data-status={lane.status}>
      <span className="lane-name" title={lane.nodeId}>{lane.nodeId}</span>
      <span className="lane-track">
        {lane.spans.map((span, i) => {
          const [from, to] = [percent(span.from), percent(span.to ?? Math.max(now, span.from))]
          const going = span.to === undefined
          return (
            <span key={i} className="span" data-status={span.status} title={`attempt ${span.attempt}: ${span.status}`} style={{ left: `${from}%`, width: `${Math.max(0.6, to - from)}%` }}>
              {going && lane.percent !== undefined && <span className="span-progress" style={{ width: `${Math.min(100, lane.percent)}%` }} />}
            </span>
          )
        })}
      </span>
      <span className="lane-end">
        <span className="lane-status">{lane.status === 'running' && lane.percent !== undefined ? `${lane.percent} %` : WORDS[lane.status]}</span>
        <span className="lane-took">{duration(took)}</span>
      </span>
      <span className="lane-note clip" title={detail}>{detail}</span>
    </li>
  )
}
