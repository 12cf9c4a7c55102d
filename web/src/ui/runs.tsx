import type { ReactElement } from 'react'
import { EventPanel } from './event_panel'
import { Publish } from './publish'
import { RunCard } from './run_card'
import { RunList } from './run_list'
import { Sample } from './sample'
import { tabId } from './tabs'
import type { RunsModel } from './use_runs'
import { UserForm } from './user_form'

/** The tab of a user's runs: whom, which, what happens, what was said. */
export function Runs({ runs, user, onUser }: { runs: RunsModel; user: string; onUser(user: string): void }): ReactElement {
  return (
    <div className="view" role="tabpanel" id="view" aria-labelledby={tabId('view', 'runs')}>
      <div className="column">
        <UserForm user={user} onUser={onUser} />
        <Sample user={user} onStarted={() => runs.select(undefined)} />
        <RunList runs={runs} />
      </div>
      <div className="column">
        <RunCard selected={runs.selected} ready={runs.user.ready} />
        <EventPanel runs={runs} />
        <Publish user={user} />
      </div>
    </div>
  )
}
