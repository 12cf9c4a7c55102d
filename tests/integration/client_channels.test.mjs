// The client library (clients/js) against the real gateway. Proves:
// - subscribe, publish, history, binary and text payloads, for await, unsubscribe, refusals with the gateway's words
// - many channels over one connection; a user's channel is what username= carries
// - a cut or stalled connection comes back by itself and continues at its cursor: nothing missing, nothing twice
// - a gap the gateway declares is filled from history
// - SIGTERM: the client waits as the close reason says; kill -9 without durable storage: a reset, then everything
// - where HTTP leads to another gateway than the socket, holes are filled over the socket
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { fanoutClient, follow } from '../support/client.mjs'
import { startFaultProxy } from '../support/fault_proxy.mjs'
import { freePort, shared, SLOW, startServer, test, until, within } from '../support/harness.mjs'

const QUICK = { backoff: { minMs: 20, maxMs: 300 } }
const range = (count, from = 0) => Array.from({ length: count }, (_, i) => from + i)

describe('one gateway', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('subscribe, publish, unsubscribe', async (t) => {
    const client = fanoutClient(t, at.server)
    const orders = follow(client, 'orders:1')
    await orders.subscription.ready
    assert.deepEqual([client.state, client.transport, orders.subscription.state], ['live', 'websocket', 'live'])
    const { cursor, duplicate } = await client.publish('orders:1', { state: 'paid' })
    await until('the event', () => orders.items.length === 1)
    assert.deepEqual(orders.items, [{ kind: 'event', channel: 'orders:1', cursor, data: { state: 'paid' } }])
    assert.equal(duplicate, false)
    assert.equal(orders.subscription.cursor, cursor)
    orders.subscription.unsubscribe()
    await client.publish('orders:1', 'unheard')
    const other = follow(client, 'orders:1') // The channel is free again.
    await other.subscription.ready
    await client.publish('orders:1', 'heard')
    await until('the event', () => other.items.length === 1)
    assert.deepEqual([orders.data, other.data], [[{ state: 'paid' }], ['heard']])
  })

  test('an idempotency key is published once', async (t) => {
    const client = fanoutClient(t, at.server)
    const first = await client.publish('orders:key', 1, { idempotencyKey: 'k' })
    const second = await client.publish('orders:key', 1, { idempotencyKey: 'k' })
    assert.deepEqual([first.duplicate, second.duplicate, second.cursor], [false, true, first.cursor])
    assert.equal((await client.history('orders:key')).events.length, 1)
  })

  test('payloads of every kind arrive as they were sent', async (t) => {
    const client = fanoutClient(t, at.server)
    const all = follow(client, 'orders:kinds')
    await all.subscription.ready
    await at.server.publishRaw('orders:kinds', Buffer.from([0, 255, 1]))
    await at.server.publishRaw('orders:kinds', 'plain text')
    await at.server.publishRaw('orders:kinds', '{"a":[1,null]}')
    await until('three events', () => all.items.length === 3)
    assert.deepEqual(all.data, [Uint8Array.of(0, 255, 1), 'plain text', { a: [1, null] }])
    assert.deepEqual((await client.history('orders:kinds')).events, all.items)
  })

  test('for await sees everything from the start, and ends with the subscription', async (t) => {
    const client = fanoutClient(t, at.server)
    for (let i = 0; i < 5; i++) await client.publish('orders:loop', i)
    const subscription = client.subscribe('orders:loop', { since: 'begin' })
    await subscription.ready
    await client.publish('orders:loop', 5)
    const got = []
    for await (const item of subscription) {
      got.push(item.data)
      if (got.length === 6) subscription.unsubscribe()
    }
    assert.deepEqual(got, range(6))
  })

  test('a hundred channels over one connection', async (t) => {
    const client = fanoutClient(t, at.server)
    const follows = range(100).map((i) => follow(client, `many:${i}`))
    await Promise.all(follows.map((one) => one.subscription.ready))
    await Promise.all(range(100).map((i) => client.publish(`many:${i}`, i)))
    await until('one event each', () => follows.every((one) => one.items.length === 1))
    assert.deepEqual(follows.map((one) => one.data[0]), range(100))
    const { connections } = (await at.server.get('/api/v1/connections?channel=many:0')).json()
    assert.deepEqual(connections.map((one) => one.channels.length), [100])
  })

  test('a refused channel fails with the gateway\'s own sentence; the others go on', async (t) => {
    const client = fanoutClient(t, at.server)
    const good = follow(client, 'orders:good')
    const bad = client.subscribe('NOT A CHANNEL')
    await assert.rejects(bad.ready, (error) => error.code === 'bad_channel' && error.message.length > 8)
    await assert.rejects(async () => { for await (const _ of bad); }, { code: 'bad_channel' })
    await good.subscription.ready
    await client.publish('orders:good', 1)
    await until('the event', () => good.items.length === 1)
    await assert.rejects(client.publish('NOT A CHANNEL', 1), { code: 'bad_channel', status: 400 })
    await assert.rejects(client.history('NOT A CHANNEL'), { status: 400 })
  })

  test('types: the gateway filters; batchMs: it gathers, and nothing looks different', async (t) => {
    const client = fanoutClient(t, at.server)
    const some = follow(client, 'orders:types', { types: ['paid', 'node_*'] })
    const gathered = follow(client, 'orders:batch', { since: 'begin', batchMs: 20 })
    await Promise.all([some.subscription.ready, gathered.subscription.ready])
    for (const type of ['paid', 'sent', 'node_a', 'nodes', 'node_b']) await client.publish('orders:types', { type })
    await Promise.all(range(30).map((i) => client.publish('orders:batch', i)))
    await until('all of them', () => some.items.length === 3 && gathered.items.length === 30)
    assert.deepEqual(some.data.map(({ type }) => type), ['paid', 'node_a', 'node_b'])
    assert.deepEqual(gathered.data.toSorted((a, b) => a - b), range(30))
    assert.deepEqual([some.resets, gathered.resets], [[], []])
  })

  test('history in pages, and a cursor kept from before', async (t) => {
    const client = fanoutClient(t, at.server)
    for (let i = 0; i < 25; i++) await client.publish('orders:pages', i)
    const got = []
    let since = 'begin'
    for (let more = true; more;) {
      const page = await client.history('orders:pages', { since, limit: 10 })
      got.push(...page.events.map((event) => event.data))
      ;({ cursor: since, more } = page)
    }
    assert.deepEqual(got, range(25))
    const { events } = await client.history('orders:pages', { limit: 11 })
    const later = follow(fanoutClient(t, at.server), 'orders:pages', { since: events[10].cursor })
    await until('the rest', () => later.items.length === 14)
    assert.deepEqual(later.data, range(14, 11))
  })

  test('user(): what username= carries, shared by all who listen', async (t) => {
    for (const rawUserSockets of [false, true]) {
      const client = fanoutClient(t, at.server, { rawUserSockets })
      const name = rawUserSockets ? 'raw' : 'channel'
      const [one, two] = [[], []]
      const stop = client.user(name).listen({ onEvent: (event) => one.push(event) })
      client.user(name).listen({ onEvent: (event) => two.push(event) })
      await until('it is live', () => client.user(name).state === 'live')
      await at.server.publish(`user:${name}`, { type: 'a' })
      await until('both heard it', () => one.length && two.length)
      stop()
      await at.server.publish(`user:${name}`, { type: 'b' })
      await until('one is left', () => two.length === 2)
      assert.deepEqual([one, two], [[{ type: 'a' }], [{ type: 'a' }, { type: 'b' }]])
    }
  })

  test('user(): from the beginning, with cursors, and what is no event of a workflow; a raw socket has what comes', async (t) => {
    for (const rawUserSockets of [false, true]) {
      const client = fanoutClient(t, at.server, { rawUserSockets })
      const name = rawUserSockets ? 'raw-all' : 'channel-all'
      const [messages, events] = [[], []]
      const before = await at.server.publish(`user:${name}`, { type: 'before' })
      client.user(name, { since: 'begin' }).listen({ onMessage: (message) => messages.push(message), onEvent: (event) => events.push(event) })
      await until('it is live', () => client.user(name).state === 'live')
      const text = await at.server.publishRaw(`user:${name}`, 'not JSON')
      const bytes = await at.server.publishRaw(`user:${name}`, [0xff, 0x00])
      const after = await at.server.publish(`user:${name}`, { type: 'after' })
      await until('the last has come', () => events.at(-1)?.type === 'after')
      const all = [['type before', before], ['not JSON', text], ['255,0', bytes], ['type after', after]].slice(rawUserSockets ? 1 : 0)
      const named = (data) => data instanceof Uint8Array ? data.join() : typeof data === 'object' ? `type ${data.type}` : data
      assert.deepEqual(messages.map(({ data }) => named(data)), all.map(([data]) => data))
      assert.deepEqual(messages.map(({ cursor }) => cursor), all.map(([, reply]) => rawUserSockets ? undefined : reply.cursor ?? reply.results[0].cursor))
      assert.deepEqual(events.map(({ type }) => type), rawUserSockets ? ['after'] : ['before', 'after'])
    }
  })
})

describe('a network that fails', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { args: ['--namespace', 'n:history_messages=100000,history_bytes=64MiB', '--namespace', 'g:outbox_messages=16,history_bytes=64MiB'] }) }))

  test('a cut connection continues at its cursor', async (t) => {
    const proxy = await startFaultProxy(t, at.server)
    const client = fanoutClient(t, proxy, QUICK)
    const states = []
    client.onState((state) => states.push(state))
    const one = follow(client, 'n:cut')
    await one.subscription.ready
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 20; i++) {
        if (i === 7) proxy.cut()
        await at.server.publish('n:cut', round * 20 + i)
      }
    }
    await until('all of them', () => one.items.length >= 100)
    assert.deepEqual(one.data, range(100))
    assert.equal(one.resets.length, 0)
    assert.ok(states.includes('offline'), `states: ${states}`)
    await until('it is live', () => client.state === 'live')
  })

  test('a stalled connection is noticed by its silence and replaced', async (t) => {
    const proxy = await startFaultProxy(t, at.server)
    const client = fanoutClient(t, proxy, { ...QUICK, timing: { pingAfterMs: 300, answerTimeoutMs: 300 } })
    const one = follow(client, 'n:stall')
    await one.subscription.ready
    proxy.stall()
    await at.server.publish('n:stall', 'while nothing moves')
    await until('it has come over a new connection', () => one.items.length === 1)
    assert.ok(proxy.stats.connections >= 2)
  })

  test('connections that break in the middle of a frame or answer lose nothing', async (t) => {
    const proxy = await startFaultProxy(t, at.server, { seed: 11, truncateAfterBytes: [500, 4000], delayMs: [0, 3] })
    const client = fanoutClient(t, proxy, { ...QUICK, idleMs: 300, idleMaxMs: 1000 })
    const one = follow(client, 'n:short', { since: 'begin' })
    for (let i = 0; i < 150; i++) await at.server.publish('n:short', i)
    await until('all of them', () => one.items.length >= 150, { ms: 30_000 * SLOW })
    assert.deepEqual(one.data, range(150))
    assert.ok(proxy.stats.truncated > 5)
  })

  test('a gap the gateway declares is filled from history', async (t) => {
    const proxy = await startFaultProxy(t, at.server)
    const client = fanoutClient(t, proxy, { ...QUICK, idleMs: 0 })
    const one = follow(client, 'g:slow')
    await one.subscription.ready
    const payload = 'x'.repeat(60_000)
    proxy.stall()
    for (let i = 0; i < 120; i++) await at.server.publish('g:slow', `${i} ${payload}`)
    proxy.resume()
    await at.server.publish('g:slow', '120 ')
    await until('all of them', () => one.items.length + one.resets.length >= 121, { ms: 20_000 * SLOW })
    assert.deepEqual(one.data.map((text) => Number(text.split(' ')[0])), range(121))
    await at.server.waitLine(/ev=conn\.recovered .*channel=g:slow .*dropped=[1-9]/)
  })

  test('the last message, lost without a trace, is found when the channel is quiet', async (t) => {
    const proxy = await startFaultProxy(t, at.server)
    const client = fanoutClient(t, proxy, { ...QUICK, idleMs: 400 })
    const one = follow(client, 'n:last')
    await one.subscription.ready
    await at.server.publish('n:last', 'seen')
    await until('the first', () => one.items.length === 1)
    proxy.faults.dropMessages = 1
    await at.server.publish('n:last', 'lost')
    const started = performance.now()
    await until('the lost one', () => one.items.length === 2)
    assert.ok(performance.now() - started < 2000 * SLOW)
    assert.deepEqual(one.data, ['seen', 'lost'])
  })
})

describe('a gateway that goes', () => {
  test('SIGTERM: the client is back after the hint in the close reason, over a new server', async (t) => {
    const port = await freePort()
    const first = await startServer(t, { port })
    const client = fanoutClient(t, first, QUICK)
    const one = follow(client, 'n:restart')
    await one.subscription.ready
    const statuses = [] // Later attempts meet a closed port.
    client.onState(() => statuses.push(client.lastError?.status))
    await first.stop()
    await until('it knows', () => client.state === 'offline')
    assert.equal(statuses[0], 1012)
    const second = await startServer(t, { port })
    await until('it is live again', () => client.state === 'live')
    await second.publish('n:restart', 'after')
    await until('the event', () => one.events.length === 1)
  })

  test('kill -9 without durable storage: a reset, delivery waits for the snapshot, then everything', async (t) => {
    const port = await freePort()
    const first = await startServer(t, { port })
    const client = fanoutClient(t, first, QUICK)
    let snapshotTaken
    const snapshot = new Promise((done) => { snapshotTaken = done })
    const one = follow(client, 'n:kill', { onReset: () => snapshot })
    await one.subscription.ready
    await first.publish('n:kill', 'before')
    await until('the first', () => one.items.length === 1)
    first.expectCode = null
    first.signal('SIGKILL')
    await first.gone()
    const second = await startServer(t, { port })
    await until('the reset', () => one.resets.length === 1)
    for (let i = 0; i < 10; i++) await second.publish('n:kill', i)
    await new Promise((done) => setTimeout(done, 100))
    assert.equal(one.events.length, 1, 'the snapshot is not there yet')
    assert.equal(one.subscription.state, 'catching-up')
    snapshotTaken()
    await until('all of them', () => one.events.length === 11)
    assert.deepEqual(one.data, ['before', ...range(10)])
    assert.equal(one.resets.length, 1)
    await until('it is live', () => one.subscription.state === 'live')
  })

  test('history over HTTP from another gateway is not believed: holes are filled over the socket', async (t) => {
    const [own, other] = await Promise.all([startServer(t), startServer(t)])
    const proxy = await startFaultProxy(t, own)
    let asked = 0
    const client = fanoutClient(t, proxy, {
      ...QUICK, idleMs: 300,
      fetch: (url, init) => { asked++; return fetch(String(url).replace(`:${proxy.port}`, `:${other.port}`), init) }
    })
    const one = follow(client, 'n:two')
    await one.subscription.ready
    await own.publish('n:two', 0)
    await until('the first', () => one.items.length === 1)
    proxy.faults.dropMessages = 1
    await own.publish('n:two', 1)
    await until('history was asked for in vain', () => asked > 0)
    proxy.faults.dropMessages = 0
    await own.publish('n:two', 2)
    await within('all of them', until('all of them', () => one.items.length === 3))
    assert.deepEqual(one.data, [0, 1, 2])
    assert.equal(one.resets.length, 0)
  })
})
