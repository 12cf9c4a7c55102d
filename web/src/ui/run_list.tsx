import { useMemo, type ReactElement } from 'react'
import { clock, shortId } from '../model/format'
import { viewOf } from '../model/run'
import type { WatchedRun } from '../model/user_watch'
import type { RecentRun } from '../model/flow_api'
import type { FlowModel } from './use_flow'
import type { RunsModel } from './use_runs'

export function RunList({ runs, flow }: { runs: RunsModel; flow: FlowModel }): ReactElement {
  const told = new Set(runs.runs.map(({ runId }) => runId))
  const kept = flow.recent.filter(({ run_id }) => !told.has(run_id))
  const count = runs.runs.length + kept.length
  return (
    <section className="card" aria-labelledby="runs-title">
      <div className="card-head">
        <h2 id="runs-title">Runs</h2>
        <span className="hint">{count > 0 && count}</span>
      </div>
      <div className="run-list">
        {count === 0
          ? <p className="quiet">{runs.user.ready ? 'No run yet. Publish a sample run, or start one with a coordinator.' : ''}</p>
          : <ul>{runs.runs.map((run) => (
            <li key={run.runId}><RunButton run={run} selected={run.runId === runs.selected?.runId} known={runs.selected} onSelect={runs.select} /></li>
          ))}
            {kept.map((run) => (
              <li key={run.run_id}><KeptButton run={run} selected={run.run_id === runs.selected?.runId} onSelect={runs.select} /></li>
            ))}
          </ul>}
        {flow.more && <button type="button" className="small" onClick={() => void flow.watch?.older()}>Older runs</button>}
      </div>
    </section>
  )
}

interface RunButtonProps {
  run: WatchedRun
  selected: boolean
  known: RunsModel['selected']
  onSelect(runId: string): void
}

function RunButton({ run, selected, known, onSelect }: RunButtonProps): ReactElement {
  const own = useMemo(() => viewOf(run.events), [run.events])
  const view = selected && known ? known.view : own
  return (
    <button type="button" className="run-button" aria-current={selected} onClick={() => onSelect(run.runId)}>
      <span className="dot" data-status={view.status} aria-hidden="true" />
      <span className="run-name"><span>{view.tag ?? 'run'}</span><span className="hint mono">{shortId(run.runId)}</span></span>
      <span className="hint end">{view.status}{view.startedAt !== undefined && <time dateTime={new Date(view.startedAt).toISOString()}>{clock(view.startedAt, false)}</time>}</span>
    </button>
  )
}

/** A run of which no event is at hand: the coordinator has it. */
function KeptButton({ run, selected, onSelect }: { run: RecentRun; selected: boolean; onSelect(runId: string): void }): ReactElement {
  return (
    <button type="button" className="run-button" aria-current={selected} onClick={() => onSelect(run.run_id)}>
      <span className="dot" data-status={run.status} aria-hidden="true" />
      <span className="run-name"><span>{run.tag}</span><span className="hint mono">{shortId(run.run_id)}</span></span>
      <span className="hint end">{run.status}<time dateTime={new Date(run.created_ms).toISOString()}>{clock(run.created_ms, false)}</time></span>
    </button>
  )
}
