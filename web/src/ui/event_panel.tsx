import { useMemo, useState, type ReactElement } from 'react'
import { count } from '../model/format'
import { MESSAGES_MAX } from '../model/user_watch'
import { EventList, type Row } from './event_list'
import { Tabs, tabId } from './tabs'
import type { RunsModel } from './use_runs'

type Scope = 'run' | 'all'

const SCOPES: { id: Scope; label: string }[] = [{ id: 'run', label: 'This run' }, { id: 'all', label: 'All of this user' }]

export function EventPanel({ runs }: { runs: RunsModel }): ReactElement {
  const [scope, setScope] = useState<Scope>('run')
  const { user, selected } = runs
  const rows = useMemo((): Row[] => scope === 'all'
    ? user.messages.map(({ id, at, cursor, data, notice }) => ({ key: `m${id}`, at, cursor, data, notice }))
    : (selected?.events ?? []).slice(-MESSAGES_MAX).map(({ event, time }, i) => ({ key: `${selected?.runId}${i}`, at: time, cursor: undefined, data: event, notice: undefined })),
  [scope, user.messages, selected])
  const total = scope === 'all' ? user.total : selected?.events.length ?? 0
  return (
    <section className="card events" aria-labelledby="events-title">
      <div className="card-head">
        <h2 id="events-title">Events</h2>
        <Tabs small label="Which events" tabs={SCOPES} selected={scope} onSelect={(id) => setScope(id)} panel="events" />
        <span className="hint end" data-testid="event-count">{total === 0 ? '' : total > rows.length ? `${count(total)}, the last ${count(rows.length)} shown` : count(total)}</span>
        {scope === 'all' && <button type="button" className="small" onClick={runs.clear}>Clear</button>}
      </div>
      <EventList rows={rows} panel="events" labelledBy={tabId('events', scope)}
        empty={!user.ready ? ['Connecting', 'Reading what is kept for this user.']
          : scope === 'run' ? ['No events of a run', 'Publish a sample run, or look at all of this user.']
          : ['Nothing published yet', 'Publish something on this page, from a terminal, or through Redis: it shows up at once.']} />
    </section>
  )
}
