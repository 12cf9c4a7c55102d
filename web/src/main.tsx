import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { connect } from 'fanout-client'
import { FanoutProvider } from 'fanout-client/react'
import { App } from './app'
import { Address } from './model/address'
import { Faults } from './transport/faults'
import 'uplot/dist/uPlot.min.css'
import './style/tokens.css'
import './style/base.css'
import './style/layout.css'
import './style/parts.css'
import './style/flow.css'

const address = new Address()
const faults = new Faults((url, init) => fetch(url, init))
const { WebSocket, fetch: faultyFetch, onWake } = faults.environment()

const client = connect(undefined, {
  WebSocket,
  fetch: faultyFetch,
  environment: { onWake },
  // Without server-sent events in between: a page that shows what happens when there is no real-time transport should not
  // find another one.
  transports: ['websocket', 'poll'],
  // Who presses a button wants to see the answer: sooner than an application would come back.
  backoff: { minMs: 250, maxMs: 4000 },
  upgradeAfterMs: 4000
})

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <FanoutProvider client={client}>
      <App client={client} faults={faults} address={address} />
    </FanoutProvider>
  </StrictMode>
)
