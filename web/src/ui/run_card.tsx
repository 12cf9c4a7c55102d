import { useEffect, useState, type ReactElement } from 'react'
import { clock, duration } from '../model/format'
import type { Lane, RunView, SpanStatus } from '../model/run'
import { Icon } from './icon'
import type { SelectedRun } from './use_runs'

const LEAST_MS = 4000
const TICKS = 5

export function RunCard({ selected, ready }: { selected: SelectedRun | undefined; ready: boolean }): ReactElement {
  const view = selected?.events.length ? selected.view : undefined
  return (
    <section className="card run" aria-labelledby="run-title">
      <div className="card-head">
        <h2 id="run-title" className="clip">{view ? view.tag ?? 'Run' : 'Run'}</h2>
        {view && <span className="pill" data-status={view.status} role="status">{view.status}</span>}
        <span className="hint mono clip end" title={selected?.runId}>{selected?.runId}</span>
      </div>
      {view ? <RunBody view={view} /> : (
        <div className="empty run-empty">
          <Icon name="play" />
          <p><strong>{ready ? 'No run to show' : 'Connecting'}</strong></p>
          <p>{ready ? 'Publish a sample run and watch its nodes start, progress and finish here.' : 'Reading what is kept for this user.'}</p>
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

function RunBody({ view }: { view: RunView }): ReactElement {
  const now = useNow(view.status === 'running')
  const start = view.startedAt ?? now
  const end = Math.max(view.endedAt ?? now, ...view.lanes.flatMap(({ spans }) => spans.map(({ from, to }) => to ?? from)))
  const scale = Math.max(LEAST_MS, end - start)
  const percent = (time: number): number => Math.min(100, Math.max(0, (time - start) / scale * 100))
  const facts: [string, string][] = [
    ['Tokens in flight', view.counter === undefined ? '–' : String(view.counter)],
    ['Nodes done', view.nodes === undefined ? String(view.nodesDone) : `${view.nodesDone} of ${view.nodes}`],
    ['Duration', duration(view.durationMs ?? Math.max(0, end - start))],
    ['Started', clock(start, false)]
  ]
  return (
    <>
      <dl className="facts">{facts.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
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
  const detail = lane.note ?? (lane.spans.length > 1 && last ? `attempt ${last.attempt}` : '')
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
