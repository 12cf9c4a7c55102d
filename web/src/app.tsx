import { useEffect, useMemo, useState, useSyncExternalStore, type ReactElement } from 'react'
import type { FanoutClient } from 'fanout-client'
import type { Address } from './model/address'
import { FiguresWatch } from './model/figures'
import type { Faults } from './transport/faults'
import { Connection } from './ui/connection'
import { Gateway } from './ui/gateway'
import { Header } from './ui/header'
import { Room } from './ui/room'
import { Runs } from './ui/runs'
import { useFlow } from './ui/use_flow'
import { useRuns } from './ui/use_runs'

export interface AppProps {
  client: FanoutClient
  faults: Faults
  address: Address
}

/** Failures in a row after which the gateway counts as gone: one request may always be lost. */
const GONE_AFTER = 2

export function App({ client, faults, address }: AppProps): ReactElement {
  const place = useSyncExternalStore(address.subscribe, address.get)
  const figuresWatch = useMemo(() => new FiguresWatch(), [])
  const figures = useSyncExternalStore(figuresWatch.subscribe, figuresWatch.get)
  const flow = useFlow(place.user)
  const runs = useRuns(client, place.user, flow.recent[0]?.run_id)
  const [roomState, setRoomState] = useState(client.state)
  const state = place.tab === 'runs' ? runs.state : roomState
  const gone = figures.failures >= GONE_AFTER

  useEffect(() => {
    faults.tally.reset()
  }, [faults, place.user])

  useEffect(() => {
    document.title = place.tab === 'runs' ? `${place.user} · fanout` : `#${place.room} · fanout`
  }, [place])

  return (
    <>
      <a className="skip" href="#main">Skip to the content</a>
      <Header tab={place.tab} state={state} onTab={(tab) => address.go({ tab })} />
      <div className="banner" role="alert" hidden={!gone}>
        {gone && <><strong>The gateway does not answer.</strong> Nothing new can come until it is back; this page tries again by itself.</>}
      </div>
      <main id="main" className="page" tabIndex={-1}>
        {place.tab === 'runs'
          ? <Runs key={place.user} runs={runs} flow={flow} user={place.user} onUser={(user) => address.go({ user })} />
          : <Room key={place.room} room={place.room} name={place.as} onGo={(change) => address.go(change)} onState={setRoomState} />}
        <aside className="column aside" aria-label="Connection and gateway">
          <Connection state={state} faults={faults} client={client} />
          <Gateway figures={figures} />
        </aside>
      </main>
      <footer className="footer">
        <span>fanout {figures.version ?? ''}</span>
        <a href="/plain">Plain page: any channel, cursors</a>
        <a href="/metrics">Metrics</a>
        <a href="/admin/stats">Stats</a>
      </footer>
    </>
  )
}
