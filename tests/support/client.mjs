// Our client library as an application uses it: the built package, with `ws` in a Node that has no WebSocket.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import WebSocket from 'ws'
import { seeded } from './fault_proxy.mjs'

const entry = new URL('../../clients/js/dist/index.js', import.meta.url)
if (!existsSync(fileURLToPath(entry))) throw new Error('clients/js is not built; ./dev setup && npm --prefix clients/js run build')
const { connect } = await import(entry.href)

/**
 * A client of the gateway at `port` (a server, a proxy), closed with the test. Without compression, as messages
 * are counted one by one; seeded where a seed is given.
 */
export function fanoutClient(t, { port }, { seed, ...options } = {}) {
  class Plain extends WebSocket {
    constructor(url, protocols) { super(url, protocols, { perMessageDeflate: false }) }
  }
  const client = connect(`http://127.0.0.1:${port}`, {
    WebSocket: Plain, ...(seed !== undefined && { environment: { random: seeded(seed) } }), ...options
  })
  t.after(() => client.close())
  return client
}

/** Follows a channel and keeps what comes: { items, data, resets, subscription }. */
export function follow(client, channel, options = {}) {
  const items = []
  const subscription = client.subscribe(channel, {
    ...options,
    onEvent: (event) => { items.push(event) },
    onReset: (reset) => { items.push(reset); return options.onReset?.(reset) }
  })
  return {
    items, subscription,
    get events() { return items.filter((item) => item.kind === 'event') },
    get data() { return this.events.map((event) => event.data) },
    get resets() { return items.filter((item) => item.kind === 'reset') }
  }
}
