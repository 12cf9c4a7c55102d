import { useSyncExternalStore, type ReactElement } from 'react'
import type { ConnectionState, FanoutClient } from 'fanout-client'
import { count } from '../model/format'
import type { Faults, FaultSettings } from '../transport/faults'

const SENTENCES: Record<ConnectionState, string> = {
  'live': 'Every event comes over the WebSocket as it happens.',
  'catching-up': 'Reading what was missed.',
  'polling': 'Real-time updates are unavailable: requests bring what is new.',
  'offline': 'Nothing gets through. It is tried again by itself.'
}

const SWITCHES: { name: keyof FaultSettings; label: string; hint: string }[] = [
  { name: 'broken', label: 'Break the WebSocket', hint: 'Cut it, and fail every new one' },
  { name: 'lossy', label: 'Drop 30 % of its messages', hint: 'Lost one by one, unannounced' },
  { name: 'offline', label: 'Go offline', hint: 'No socket, and no request either' }
]

export function Connection({ state, faults, client }: { state: ConnectionState; faults: Faults; client: FanoutClient }): ReactElement {
  const settings = useSyncExternalStore(faults.subscribe, () => faults.settings)
  const tally = useSyncExternalStore(faults.tally.subscribe, faults.tally.get)
  const figures: [label: string, value: number, hint: string][] = [
    ['Received', tally.received, 'Different events that have arrived, by whichever way'],
    ['Duplicates removed', tally.duplicates, 'Copies that came once more and are shown once'],
    ['Healed by polls', tally.healed, 'Events that the WebSocket did not bring, and a request did'],
    ['Polls', tally.polls, 'Requests for events, beside the WebSocket'],
    ['Dropped on purpose', tally.lost, 'WebSocket messages thrown away by the switch below']
  ]
  return (
    <section className="card" aria-labelledby="connection-title">
      <div className="card-head">
        <h2 id="connection-title">Connection</h2>
        <span className="hint">{client.transport === 'poll' ? 'long polling' : client.transport === 'websocket' ? 'WebSocket' : 'none open'}</span>
      </div>
      <p className="state-sentence">{SENTENCES[state]}</p>
      <dl className="tally">
        {figures.map(([label, value, hint]) => (
          <div key={label} title={hint}><dt>{label}</dt><dd>{count(value)}</dd></div>
        ))}
      </dl>
      <div className="switches" role="group" aria-label="Break something">
        <p className="eyebrow">Break something</p>
        {SWITCHES.map(({ name, label, hint }) => (
          <button key={name} type="button" role="switch" aria-checked={settings[name]} className="switch"
            onClick={() => faults.set({ [name]: !settings[name] })}>
            <span className="switch-text">{label}<span className="hint">{hint}</span></span>
            <span className="switch-knob" aria-hidden="true" />
          </button>
        ))}
      </div>
      <p className="hint">The switches act on the transport beneath the client library. Publishing is not affected: the sample plays the part of another program.</p>
    </section>
  )
}
