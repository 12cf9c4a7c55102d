// How a client gets and keeps a connection, on a virtual clock. Proves:
// - one WebSocket with fanout.v1, opened for the first subscription; tokens travel in the subprotocol and in headers
// - full jitter within a doubling bound, reset by what is received, never before the server's hint
// - final close codes end it with an error; 4401 fetches a new token; 4429 waits longest
// - WebSocket → server-sent events → long polling when attempts fail, and back up, make before break
// - a silent connection is asked twice and given up; waking up reconnects at once
// - the one state: live, catching-up, polling, offline
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, FanoutError } from '../dist/index.js'
import { Gateway } from './support/gateway.mjs'
import { settle, World } from './support/world.mjs'

function scene(clientOptions = {}, worldOptions) {
  const world = new World(worldOptions)
  const gateway = new Gateway(world)
  const client = connect('http://gateway/base/', { environment: world.environment, ...clientOptions })
  return { world, gateway, client }
}

test('nothing is opened before something is subscribed to; then one socket for all', async () => {
  const { world, gateway, client } = scene()
  await world.advance(1000)
  assert.equal(world.sockets.length, 0)
  const one = client.subscribe('a:1')
  client.subscribe('a:2', { since: 'begin', batchMs: 20 })
  assert.equal(client.state, 'catching-up')
  await gateway.up()
  await one.ready
  assert.equal(world.sockets.length, 1)
  assert.equal(world.socket.url, 'ws://gateway/base/ws')
  assert.deepEqual(world.socket.protocols, ['fanout.v1'])
  assert.deepEqual(gateway.commands.map((command) => command.subscribe), [{ channel: 'a:1' }, { channel: 'a:2', since: 'begin', batch_ms: 20 }])
  assert.deepEqual([client.state, client.transport], ['live', 'websocket'])
  world.socket.say([{ channel: 'a:1', cursor: 'e1:1', data: 1 }, { channel: 'a:2', cursor: 'e1:1', data: 2 }]) // batch_ms
  assert.deepEqual([one.cursor, world.sockets.length], ['e1:1', 1])
  assert.throws(() => client.subscribe('a:1'), { code: 'exists' })
})

test('a token travels as subprotocol and header; a function is asked each time', async () => {
  let n = 0
  const { world, gateway, client } = scene({ token: async () => `jwt${++n}` })
  client.subscribe('a:1')
  await gateway.up()
  assert.deepEqual(world.socket.protocols, ['fanout.v1', 'fanout.token.jwt1'])
  await client.history('a:1')
  assert.equal(world.requests[0].headers.authorization, 'Bearer jwt2')
  world.socket.drop(4401)
  await world.advance(500)
  assert.deepEqual(world.socket.protocols, ['fanout.v1', 'fanout.token.jwt3'])
})

test('delays double, full jitter under 500 ms · 2ⁿ up to 15 s', async () => {
  for (const [random, expected] of [[() => 0.999999, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]], [() => 0, [0, 0, 0, 0, 0, 0, 0]]]) {
    const { world, client } = scene({ transports: ['websocket'] }, { random })
    client.subscribe('a:1')
    const waited = []
    for (let i = 0; i < 7; i++) {
      await settle()
      const [count, from] = [world.sockets.length, world.time]
      world.socket.drop()
      if (i === 0) assert.equal(client.state, 'offline')
      while (world.sockets.length === count) await world.advance(1)
      waited.push(world.time - from)
    }
    // advance(1) sees a delay of less than a millisecond as one.
    assert.ok(waited.every((ms, i) => Math.abs(ms - expected[i]) <= 1), `${waited}`)
  }
})

test('a door that opens and slams is no success: only what is received resets the delay', async () => {
  const { world, gateway, client } = scene({ transports: ['websocket'] }, { random: () => 0.999999 })
  client.subscribe('a:1')
  await settle()
  for (const bound of [500, 1000, 2000]) {
    world.socket.open()
    world.socket.drop()
    const count = world.sockets.length
    await world.advance(bound - 2)
    assert.equal(world.sockets.length, count)
    await world.advance(2)
    assert.equal(world.sockets.length, count + 1)
  }
  gateway.open()
  world.socket.drop()
  await world.advance(500)
  assert.equal(world.sockets.length, 5)
})

test('the hint of close 1012 is waited for; 4429 waits longest', async () => {
  for (const [code, reason, least, most] of [[1012, 'retry_ms=3000', 3000, 3500], [4429, '', 15_000, 15_500], [1012, 'retry_ms=nonsense', 0, 500]]) {
    const { world, gateway, client } = scene()
    client.subscribe('a:1')
    await gateway.up()
    const from = world.time
    world.socket.drop(code, reason)
    while (world.sockets.length === 1) await world.advance(10)
    assert.ok(world.time - from >= least && world.time - from <= most + 10, `${code}: ${world.time - from}`)
  }
})

test('1008, 4403, and 4401 without a way to a new token, end it; who subscribes later hears why', async () => {
  for (const code of [1008, 4403, 4401]) {
    const { world, gateway, client } = scene({ token: 'fixed' })
    client.subscribe('a:1')
    await gateway.up()
    world.socket.drop(code)
    await world.advance(120_000)
    assert.equal(world.sockets.length, 1)
    assert.equal(client.state, 'offline')
    assert.ok(client.lastError instanceof FanoutError)
    assert.equal(client.lastError.status, code)
    await assert.rejects(client.subscribe('a:2').ready, { status: code })
  }
})

const stream = () => {
  let control
  const body = new ReadableStream({ start(controller) { control = controller } })
  const encoder = new TextEncoder()
  return { response: new Response(body, { headers: { 'content-type': 'text/event-stream' } }), write: (text) => control.enqueue(encoder.encode(text)), end: () => control.close() }
}

test('WebSocket twice in vain → server-sent events; tried again soon and after a minute, make before break', async () => {
  const { world, gateway, client } = scene()
  const sse = stream()
  world.answer = (request) => request.path.endsWith('/sse') ? sse.response : gateway.http(request)
  const got = []
  client.subscribe('a:1', { onEvent: ({ data }) => got.push(data) })
  for (let i = 0; i < 2; i++) {
    await world.advance(i * 1000)
    world.socket.drop()
  }
  await world.advance(2000)
  assert.deepEqual([client.transport, world.sockets.length], ['sse', 3], 'it may have been the network: soon once more')
  world.socket.drop()
  sse.write('event: state\ndata: {"channel":"a:1","state":"live","cursor":"e1:0"}\n\n')
  gateway.publish('a:1', 1)
  sse.write('id: e1:1\ndata: {"channel":"a:1","cursor":"e1:1","data":1}\n\n')
  await settle()
  assert.deepEqual([got, client.state], [[1], 'live'])
  await world.advance(60_000)
  assert.equal(world.sockets.length, 4, 'tried beside the stream')
  assert.equal(client.transport, 'sse')
  gateway.publish('a:1', 2)
  sse.write('id: e1:2\ndata: {"channel":"a:1","cursor":"e1:2","data":2}\n\n')
  await settle()
  gateway.open()
  await settle()
  assert.equal(client.transport, 'websocket')
  assert.equal(world.requestsTo('/sse')[0].signal.aborted, true)
  assert.deepEqual(gateway.commands[0].subscribe, { channel: 'a:1', since: 'e1:2' })
  gateway.publish('a:1', 3)
  assert.deepEqual([got, client.state], [[1, 2, 3], 'live'])
  world.socket.drop()
  assert.equal(client.state, 'offline')
  await world.advance(500)
  assert.equal(world.sockets.length, 5)
})

test('a better transport of two streams is one: it takes over once', async () => {
  const { world, client } = scene({ transports: ['sse', 'poll'] })
  const streams = []
  let up = false
  world.answer = ({ path, query }) => {
    if (path.endsWith('/sse')) {
      if (!up) return { status: 502 }
      streams.push({ channel: query.get('channel'), ...stream() })
      return streams.at(-1).response
    }
    if (query.get('wait') === '0') return { body: { events: [], cursor: 'e1:0', state: 'live' } }
    return 'hang'
  }
  const got = []
  client.subscribe('a:1', { onEvent: ({ data }) => got.push(data) })
  client.subscribe('a:2', { batchMs: 10, onEvent: ({ data }) => got.push(data) })
  await world.advance(10_000)
  assert.equal(client.transport, 'poll')
  up = true
  await world.advance(60_000)
  assert.deepEqual([client.transport, streams.length], ['sse', 2])
  for (const { channel, write } of streams) {
    write(`event: state\ndata: {"channel":"${channel}","state":"live","cursor":"e1:0"}\n\n`)
    write(`id: e1:1\ndata: {"channel":"${channel}","cursor":"e1:1","data":"${channel}"}\n\n`)
  }
  await settle()
  assert.deepEqual([got.sort(), client.state], [['a:1', 'a:2'], 'live'])
  client.close()
})

test('where /sse is not there it is long polling at once; the state says polling', async () => {
  const { world, client } = scene()
  let release
  world.answer = ({ path, query }) => {
    if (path.endsWith('/sse')) return { status: 404, body: { error: { code: 'not_found', message: 'no such address' } } }
    if (!path.endsWith('/poll')) return 'hang'
    if (query.get('wait') === '0') return { body: { events: [], cursor: 'e1:0', state: 'live' } }
    return new Promise((done) => { release = () => done({ body: { events: [{ channel: 'a:1', cursor: 'e1:1', data: 1 }], cursor: 'e1:1', state: 'replayed' } }) })
  }
  const got = []
  client.subscribe('a:1', { onEvent: ({ data }) => got.push(data) })
  for (let i = 0; i < 2; i++) {
    await world.advance(i * 1000)
    world.socket.drop()
  }
  await world.advance(4000)
  assert.deepEqual([client.transport, client.state], ['poll', 'polling'])
  release()
  await settle()
  assert.deepEqual(got, [1])
  assert.deepEqual(world.requestsTo('/poll').map(({ query }) => [query.get('since'), query.get('wait')]), [[null, '0'], ['e1:0', '25'], ['e1:1', '25']])
})

test('without a WebSocket it begins with server-sent events', async () => {
  const world = new World()
  const none = connect('http://gateway', { environment: { ...world.environment, WebSocket: undefined }, transports: ['websocket', 'sse'] })
  world.answer = () => 'hang'
  none.subscribe('a:1')
  await world.advance(0)
  assert.deepEqual(world.requests.map(({ path }) => path), ['/sse'])
  assert.throws(() => connect('http://gateway', { environment: { ...world.environment, WebSocket: undefined }, transports: ['websocket'] }), { code: 'no_transport' })
})

test('a silent connection is asked for a sign of life, twice, and then replaced', async () => {
  const { world, gateway, client } = scene({ idleMs: 0 })
  client.subscribe('a:1')
  await gateway.up()
  const pings = () => gateway.commands.filter((command) => command.ping).length
  await world.advance(25_000)
  assert.equal(pings(), 1)
  await world.advance(25_000)
  assert.deepEqual([pings(), world.sockets.length], [2, 1], 'answered: all is well')
  gateway.lose = true
  await world.advance(25_000)
  await world.advance(10_000)
  assert.equal(pings(), 4)
  await world.advance(1000)
  assert.equal(world.sockets.length, 2)
  assert.notEqual(world.sockets[0].closed, undefined)
})

test('waking up reconnects at once', async () => {
  const { world, client } = scene({ transports: ['websocket'] }, { random: () => 0.999 })
  client.subscribe('a:1')
  await settle()
  for (let i = 0; i < 5; i++) { world.socket.drop(); await world.advance(i === 4 ? 0 : 16_000) }
  const count = world.sockets.length
  world.wake()
  await settle()
  assert.equal(world.sockets.length, count + 1)
})

test('a handshake that is never answered fails after its time', async () => {
  const { world, client } = scene({ transports: ['websocket'] })
  client.subscribe('a:1')
  await world.advance(10_000)
  await world.advance(500)
  assert.equal(world.sockets.length, 2)
  assert.equal(client.lastError.code, 'closed_1006')
})

test('close() ends everything: loops, sockets, timers', async () => {
  const { world, gateway, client } = scene()
  const subscription = client.subscribe('a:1')
  await gateway.up()
  const loop = (async () => { for await (const _ of subscription); })()
  client.close()
  await loop
  await world.advance(120_000)
  assert.deepEqual([client.state, world.openSockets.length, world.sockets.length, world.requests.length], ['offline', 0, 1, 0])
  assert.throws(() => client.subscribe('a:2'), { code: 'closed' })
})

test('publish repeats with the same key what may not have arrived, and not what was refused', async () => {
  const { world, client } = scene()
  let calls = 0
  world.answer = () => {
    if (++calls < 3) throw new TypeError('fetch failed')
    return { body: { results: [{ channel: 'a:1', cursor: 'e1:1' }], duplicate: true } }
  }
  const published = client.publish('a:1', { x: 1 })
  await world.advance(10_000)
  assert.deepEqual(await published, { cursor: 'e1:1', duplicate: true })
  const keys = world.requests.map(({ body }) => body.idempotency_key)
  assert.ok(keys.length === 3 && new Set(keys).size === 1 && keys[0].length === 32)
  world.answer = () => ({ status: 400, body: { error: { code: 'bad_channel', message: 'channel: no' } } })
  await assert.rejects(client.publish('nonsense', 1), { code: 'bad_channel', status: 400, message: 'channel: no' })
  assert.equal(world.requests.length, 4)
})
