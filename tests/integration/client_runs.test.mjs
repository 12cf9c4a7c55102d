// The hybrid against the real gateway's sockets, with the polls counted. Run events are not served by the gateway yet:
// they come from the peer that speaks wire.md's shape (clients/js/test/support/wire_peer.mjs). Proves, over raw user
// sockets and over the user's channel alike:
// - all well: no poll; one message lost and then quiet: one poll; socket dead for good: polls in their rhythm until the
//   terminal event; behind it no poll, and the socket stays
// - over the channel a loss that shows in the cursors is repaired without a poll
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { wirePeer } from '../../clients/js/test/support/wire_peer.mjs'
import { fanoutClient } from '../support/client.mjs'
import { startFaultProxy } from '../support/fault_proxy.mjs'
import { shared, sleep, startServer, test, until } from '../support/harness.mjs'

const POLL_MS = 1000
const story = (run) => [
  { type: 'workflow_started', run_id: run, tag: 't', nodes: 2, timestamp: 1 },
  { type: 'node_completed', run_id: run, node_id: 'a', status: 'completed', counter: 1, timestamp: 2 },
  { type: 'node_completed', run_id: run, node_id: 'b', status: 'completed', counter: 0, timestamp: 3 },
  { type: 'workflow_completed', run_id: run, counter: 0, duration_ms: 5, timestamp: 4 }
]

for (const rawUserSockets of [true, false]) {
  describe(rawUserSockets ? 'raw user sockets' : 'the user\'s channel', () => {
    const at = shared(async (t) => ({ server: await startServer(t) }))

    async function scene(t, name) {
      const peer = await wirePeer(t)
      const proxy = await startFaultProxy(t, at.server)
      const user = `${name}-${rawUserSockets}`
      const runId = `run-${user}`
      peer.runs.set(runId, [])
      const client = fanoutClient(t, proxy, { rawUserSockets, runsUrl: peer.url, backoff: { minMs: 20, maxMs: 100 }, idleMs: 0 })
      const run = client.followRun(runId, { username: user, pollMs: POLL_MS })
      await run.ready
      const publish = async (event) => {
        peer.runs.get(runId).push(event)
        await at.server.publish(`user:${user}`, event)
      }
      const has = (count) => until(`${count} events`, () => run.events.length === count)
      return { proxy, run, publish, has, events: story(runId) }
    }

    test('all well: no poll, and the socket stays behind the end', async (t) => {
      const { proxy, run, publish, has, events } = await scene(t, 'well')
      for (const [i, event] of events.entries()) {
        await publish(event)
        await has(i + 1)
        await sleep(POLL_MS / 2)
      }
      assert.equal(await run.finished, 'completed')
      await sleep(1.5 * POLL_MS)
      assert.deepEqual([run.events, run.polls, run.state, proxy.links.size >= 1], [events, 0, 'live', true])
    })

    test('one message lost, then quiet: one poll', async (t) => {
      const { proxy, run, publish, has, events } = await scene(t, 'lost')
      await publish(events[0])
      await has(1)
      proxy.faults.dropMessages = 1
      await publish(events[1])
      await has(2)
      assert.equal(run.polls, 1)
      proxy.faults.dropMessages = 0
      for (const event of events.slice(2)) await publish(event)
      assert.equal(await run.finished, 'completed')
      await sleep(1.5 * POLL_MS)
      assert.deepEqual([run.events, run.polls], [events, 1])
    })

    test('socket dead for good: a poll every interval until the end, and none behind it', async (t) => {
      const { proxy, run, publish, events } = await scene(t, 'dead')
      proxy.faults.refuse = true
      proxy.cut()
      const started = performance.now()
      for (const event of events) {
        await publish(event)
        await sleep(0.6 * POLL_MS)
      }
      assert.equal(await run.finished, 'completed')
      const intervals = (performance.now() - started) / POLL_MS
      assert.ok(Math.abs(run.polls - intervals) < 1.5, `${run.polls} polls in ${intervals} intervals`)
      const { polls } = run
      await sleep(1.5 * POLL_MS)
      assert.deepEqual([run.events, run.polls], [events, polls])
      proxy.faults.refuse = false
      await until('the socket is back', () => run.state === 'live')
    })

    if (rawUserSockets) return
    test('a loss that shows in the cursors is repaired without a poll', async (t) => {
      const { proxy, run, publish, has, events } = await scene(t, 'hole')
      await publish(events[0])
      await has(1)
      proxy.faults.dropMessages = 1
      await publish(events[1])
      await until('it is lost', () => proxy.stats.lost >= 1)
      proxy.faults.dropMessages = 0
      for (const event of events.slice(2)) await publish(event)
      assert.equal(await run.finished, 'completed')
      assert.deepEqual([run.events, run.polls], [events, 0])
    })
  })
}
