// What the tests of a history that several gateways share stand on: gateways on one Redis, a reader that
// goes from one to the other, a publisher that never publishes twice.
import { connect, sleep, startRedis, startServer } from './harness.mjs'

export const HISTORY = ['--namespace', 'feed:history=redis,history_messages=1000,history_age=1h',
  '--namespace', 'room:history=redis', '--namespace', 'user:history=redis', '--namespace', 'none:history=redis,history_messages=0']
export const data = (client) => client.json.filter((m) => 'data' in m)
export const numbers = (client) => data(client).map((m) => m.data)
export const upTo = (n) => Array.from({ length: n }, (_, i) => i)

export async function gateways(t, { redisArgs = [], count = 2, args = [] } = {}) {
  const redis = await startRedis(t, { args: redisArgs })
  const servers = []
  for (let i = 0; i < count; i++) servers.push(await startServer(t, { redis, args: [...HISTORY, ...args] }))
  return { redis, servers, a: servers[0], b: servers[1] }
}

/** One reader that moves from gateway to gateway with its cursor; received is what it heard, in order. */
export class Mover {
  received = []
  states = []
  cursor = null
  constructor(t, channel) { this.t = t; this.channel = channel }
  async to(server) {
    this.client = await connect(this.t, server, `?channel=${this.channel}${this.cursor ? `&since=${this.cursor}` : ''}`)
    await this.client.waitFrames(1, 15_000)
  }
  async leave() {
    this.client.socket.terminate()
    await this.client.waitClosed()
    for (const frame of this.client.json) {
      if ('state' in frame) this.states.push(frame.state)
      if ('gap' in frame) this.states.push('gap')
      if ('data' in frame) this.received.push(frame.data)
      if (frame.cursor) this.cursor = frame.cursor
    }
  }
}

/** Publishes 0, 1, 2, … until stopped, each once (an idempotency key makes a retry safe). */
export function publisher(servers, channel) {
  let stop = false
  const run = (async () => {
    let n = 0
    for (; !stop; n++) {
      for (let attempt = 0; ; attempt++) {
        const server = servers[(n + attempt) % servers.length]
        try {
          const reply = await server.post('/api/v1/publish', { channel, data: n, idempotency_key: `${channel}-${n}` })
          if (reply.status === 200 && reply.json().results[0].cursor) break
        } catch { /* a gateway that is dead */ }
        if (attempt > 400) throw new Error(`event ${n} cannot be published`)
        await sleep(50)
      }
      if (n % 20 === 0) await sleep(2)
    }
    return n
  })()
  return { stop() { stop = true; return run } }
}
