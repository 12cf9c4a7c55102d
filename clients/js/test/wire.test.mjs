// Server-sent events, long polling and run events over real HTTP, against a test peer that speaks wire.md's shapes
// (support/wire_peer.mjs says why). Proves for both transports:
// - events in order and once over connections that are cut; since= continues each channel at its own cursor
// - channels with different filters have URLs of their own; channels come and go
// - state and gap notices, resets; and the hybrid over a gateway of the original contract, polls only
import assert from 'node:assert/strict'
import { describe, test as nodeTest } from 'node:test'
import { connect } from '../dist/index.js'
import { wirePeer } from './support/wire_peer.mjs'

const range = (count, from = 0) => Array.from({ length: count }, (_, i) => from + i)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

async function until(what, fn, ms = 10_000) {
  const deadline = performance.now() + ms
  while (!await fn()) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms until ${what}`)
    await sleep(10)
  }
}

/** A test whose clients and peers end with it. */
function test(name, body) {
  nodeTest(name, { timeout: 30_000 }, async (t) => body(t))
}

function client(t, peer, options) {
  const made = connect(peer.url, { backoff: { minMs: 10, maxMs: 50 }, idleMs: 0, ...options })
  t.after(() => made.close())
  return made
}

function follow(made, channel, options) {
  const got = []
  const subscription = made.subscribe(channel, { ...options, onEvent: ({ data }) => got.push(data), onReset: ({ cursor }) => got.push(`reset ${cursor}`) })
  return { got, subscription }
}

for (const transport of ['sse', 'poll']) {
  describe(transport, () => {
    const only = { transports: [transport] }

    test('events in order and once over connections that are cut', async (t) => {
      const peer = await wirePeer(t)
      const one = follow(client(t, peer, only), 'a:x', { since: 'begin' })
      const cutter = setInterval(() => peer.cut(), 35)
      t.after(() => clearInterval(cutter))
      for (const n of range(300)) {
        peer.publish('a:x', n)
        if (n % 2 === 0) await sleep(4)
      }
      await until('all have come', () => one.got.length >= 300)
      assert.deepEqual(one.got, range(300))
      assert.ok(peer.requests.length > 5)
    })

    test('several channels share a URL and continue each at its own cursor', async (t) => {
      const peer = await wirePeer(t)
      for (const n of range(4)) peer.publish('a:1', n)
      const made = client(t, peer, only)
      const one = follow(made, 'a:1', { since: 'e1:2' })
      const two = follow(made, 'a:2')
      await Promise.all([one.subscription.ready, two.subscription.ready])
      assert.deepEqual([one.got, made.state], [[2, 3], transport === 'poll' ? 'polling' : 'live'])
      await until('it listens', () => peer.listeners.size === 1)
      peer.publish('a:2', 'x')
      await until('it has come', () => two.got.length === 1)
      const before = peer.requests.length
      peer.cut()
      peer.publish('a:1', 4)
      await until('it has come', () => one.got.length === 3)
      const { query } = peer.requests[before]
      assert.deepEqual([query.getAll('channel'), query.get('since')], [['a:1', 'a:2'], 'e1:4,e1:1'])
      const three = follow(made, 'a:3', { since: 'begin' })
      two.subscription.unsubscribe()
      await three.subscription.ready
      await until('it listens again', () => [...peer.listeners].some(({ channels }) => channels.join() === 'a:1,a:3'))
      peer.publish('a:3', 'y')
      peer.publish('a:1', 5)
      await until('both have come', () => three.got.length === 1 && one.got.length === 4)
      assert.deepEqual([one.got, two.got, three.got], [[2, 3, 4, 5], ['x'], ['y']])
    })

    test('each filter has a URL of its own', async (t) => {
      const peer = await wirePeer(t)
      const made = client(t, peer, only)
      const done = follow(made, 'a:1', { types: ['done'] })
      const nodes = follow(made, 'a:2', { types: ['node_*'] })
      await Promise.all([done.subscription.ready, nodes.subscription.ready])
      await until('both listen', () => peer.listeners.size === 2)
      for (const channel of ['a:1', 'a:2']) {
        for (const type of ['done', 'node_a', 'other']) peer.publish(channel, { type })
        await sleep(5)
      }
      await until('both have come', () => done.got.length && nodes.got.length)
      assert.deepEqual([done.got, nodes.got], [[{ type: 'done' }], [{ type: 'node_a' }]])
    })

    test('a history that began anew is a reset', async (t) => {
      const peer = await wirePeer(t)
      const one = follow(client(t, peer, only), 'a:x', { since: 'begin' })
      peer.publish('a:x', 1)
      await until('it has come', () => one.got.length === 1)
      await until('it listens', () => peer.listeners.size === 1)
      peer.newEpoch('e2')
      peer.cut()
      await until('the reset', () => one.got.length === 2)
      await until('it listens', () => peer.listeners.size === 1)
      peer.publish('a:x', 2)
      await until('it has come', () => one.got.length === 3)
      assert.deepEqual(one.got, [1, 'reset e2:0', 2])
    })
  })
}

test('sse: a gap notice is filled from history', async (t) => {
  const peer = await wirePeer(t)
  const one = follow(client(t, peer, { transports: ['sse'] }), 'a:x')
  await one.subscription.ready
  peer.publish('a:x', 1)
  const listeners = [...peer.listeners]
  peer.listeners.clear()
  peer.publish('a:x', 2)
  peer.publish('a:x', 3)
  listeners.forEach((listener) => peer.listeners.add(listener))
  peer.gap('a:x', 2, 3)
  await until('both have come', () => one.got.length === 3)
  assert.deepEqual(one.got, [1, 2, 3])
})

test('a gateway of the original contract without a WebSocket here: polls alone carry a run', async (t) => {
  const peer = await wirePeer(t)
  peer.refuse = (url) => !url.pathname.startsWith('/api/v1/runs/')
  const made = client(t, peer, { rawUserSockets: true, environment: { WebSocket: undefined } })
  const states = new Set()
  const run = made.followRun('r1', { username: 'u', pollMs: 30, onChange: ({ state }) => states.add(state) })
  const events = [{ type: 'workflow_started', run_id: 'r1' }, { type: 'node_completed', run_id: 'r1' }, { type: 'workflow_completed', run_id: 'r1' }]
  peer.runs.set('r1', [])
  for (const event of events) {
    peer.runs.get('r1').push(event)
    await sleep(70)
  }
  assert.equal(await run.finished, 'completed')
  assert.deepEqual(run.events, events)
  assert.ok(states.has('polling') && !states.has('live'))
  assert.ok(peer.requests.some(({ headers }) => headers['if-none-match'] === '"r1-1"'))
  const polls = peer.requests.length
  await sleep(150)
  assert.equal(peer.requests.length, polls, 'a terminal event ends polling')
})
