import { useMemo, type ReactElement } from 'react'
import { clock, shortId } from '../model/format'
import { viewOf } from '../model/run'
import type { WatchedRun } from '../model/user_watch'
import type { RunsModel } from './use_runs'

export function RunList({ runs }: { runs: RunsModel }): ReactElement {
  return (
    <section className="card" aria-labelledby="runs-title">
      <div className="card-head">
        <h2 id="runs-title">Runs</h2>
        <span className="hint">{runs.runs.length > 0 && runs.runs.length}</span>
      </div>
      <div className="run-list">
        {runs.runs.length === 0
          ? <p className="quiet">{runs.user.ready ? 'No run yet. Publish a sample run, or start one with a coordinator.' : ''}</p>
          : <ul>{runs.runs.map((run) => (
            <li key={run.runId}><RunButton run={run} selected={run.runId === runs.selected?.runId} known={runs.selected} onSelect={runs.select} /></li>
          ))}</ul>}
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
