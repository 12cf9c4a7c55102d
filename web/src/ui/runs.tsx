import { useEffect, type ReactElement } from 'react'
import { EventPanel } from './event_panel'
import { Publish } from './publish'
import { RunCard } from './run_card'
import { RunList } from './run_list'
import { Sample } from './sample'
import { tabId } from './tabs'
import type { FlowModel } from './use_flow'
import type { RunsModel } from './use_runs'
import { UserForm } from './user_form'
import { Workflows } from './workflows'

export interface RunsProps {
  runs: RunsModel
  flow: FlowModel
  user: string
  onUser(user: string): void
}

/** The tab of a user's runs: whom, which, what happens, what was said. */
export function Runs({ runs, flow, user, onUser }: RunsProps): ReactElement {
  const told = runs.user.runs.map(({ runId }) => runId).join()
  const { watch, available } = flow
  useEffect(() => {
    if (available && told) watch?.seen(told.split(','))
  }, [watch, available, told])
  const started = (runId: string): void => {
    runs.select(runId)
    // In one column the run is further down than one can see.
    const title = document.getElementById('run-title')
    if (title && title.getBoundingClientRect().top > innerHeight) title.scrollIntoView({ behavior: 'smooth' })
  }
  return (
    <div className="view" role="tabpanel" id="view" aria-labelledby={tabId('view', 'runs')}>
      <div className="column">
        <UserForm user={user} onUser={onUser} />
        <Workflows flow={flow} user={user} onStarted={started} />
        <Sample user={user} onStarted={() => runs.select(undefined)} />
        <RunList runs={runs} flow={flow} />
      </div>
      <div className="column">
        <RunCard selected={runs.selected} ready={runs.user.ready} user={user} flow={flow} />
        <EventPanel runs={runs} />
        <Publish user={user} />
      </div>
    </div>
  )
}
