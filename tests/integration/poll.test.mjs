// Long polls, wire.md "Poll". Proves with real HTTP clients:
// - an answer when there is something, with envelopes, cursor and state; after the wait an empty one
// - a chain of polls sees every event once and in order, whatever happens between two of them
// - several channels: worst state, states by channel, a list of cursors; raw kinds, types=
// - keep-alive and pipelining; a client that leaves is forgotten; answers are bounded
// - SIGTERM answers whoever waits; wrong questions get a sentence
import assert from 'node:assert/strict'
import http from 'node:http'
import { describe } from 'node:test'
import { shared, SLOW, startRedis, startServer, test, until, within } from '../support/harness.mjs'
import { rawConnect } from '../support/raw.mjs'

const poll = async (server, query, options) => {
  const reply = await server.get(`/poll?${query}`, { ms: 10_000 * SLOW, ...options })
  assert.equal(reply.status, 200, reply.text)
  return reply.json()
}
const data = ({ events }) => events.map((event) => event.data)
const polling = async (server) => (await server.get('/api/v1/connections')).json().connections.filter((row) => row.transport === 'poll')
const waiting = (server, channel) => until(`a poll waits for ${channel}`, async () => (await polling(server)).find(({ channels }) => channels.includes(channel)))

describe('GET /poll', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { args: ['--namespace', 'big:history_messages=100,history_bytes=16MiB'] }) }))

  test('what was missed comes at once, then [] with the same cursor after the wait', async () => {
    const { cursor } = await at.server.publish('p:1', { a: 1 })
    await at.server.publishRaw('p:1', 'text')
    await at.server.publishRaw('p:1', Buffer.from([0xff]))
    const first = await poll(at.server, 'channel=p:1&since=begin&wait=5')
    assert.deepEqual(first.events, [
      { channel: 'p:1', cursor, data: { a: 1 } },
      { channel: 'p:1', cursor: cursor.replace(/1$/, '2'), data: 'text', enc: 'text' },
      { channel: 'p:1', cursor: first.cursor, data: '/w==', enc: 'base64' }
    ])
    assert.equal(first.state, 'replayed')
    const started = performance.now()
    const second = await poll(at.server, `channel=p:1&since=${first.cursor}&wait=1`)
    assert.deepEqual(second, { events: [], cursor: first.cursor, state: 'live' })
    const ms = performance.now() - started
    assert.ok(ms > 950 && ms < 1500 * SLOW, `waited ${ms} ms`)
    assert.deepEqual(await poll(at.server, `channel=p:1&since=${first.cursor}&wait=0`), second)
  })

  test('without a wait, too, every channel that has something is in the answer', async (t) => {
    const server = await startServer(t, { args: ['--shards', '2'] })
    const names = [1, 2, 3, 4, 5, 6].map((i) => `p:all-${i}`)
    for (const name of names) await server.publish(name, name)
    for (let i = 0; i < 20; i++) {
      const answer = await poll(server, `${names.map((name) => `channel=${name}`).join('&')}&since=begin&wait=0`)
      assert.deepEqual(data(answer).sort(), names)
    }
  })

  test('an event answers who waits; proxies must not keep the answer', async () => {
    const answer = at.server.get('/poll?channel=p:2&wait=20', { ms: 10_000 * SLOW })
    await waiting(at.server, 'p:2')
    assert.equal((await at.server.metrics()).value('fanout_connections', { transport: 'poll', endpoint: 'poll' }), 1)
    const { cursor } = await at.server.publish('p:2', 'now')
    const reply = await answer
    assert.equal(reply.headers['cache-control'], 'no-store')
    assert.deepEqual(reply.json(), { events: [{ channel: 'p:2', cursor, data: 'now' }], cursor, state: 'live' })
    await until('it waits no more', async () => (await polling(at.server)).length === 0)
  })

  test('a chain of polls sees each event once, in order, under load', async (t) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    const count = 400, seen = []
    let { cursor } = await poll(at.server, 'channel=p:chain&wait=0', { agent })
    const publishing = (async () => { for (let i = 0; i < count; i++) await at.server.publish('p:chain', i) })()
    while (seen.length < count) {
      const answer = await poll(at.server, `channel=p:chain&since=${cursor}&wait=5`, { agent })
      assert.notEqual(answer.state, 'reset')
      seen.push(...data(answer))
      cursor = answer.cursor
    }
    await publishing
    assert.deepEqual(seen, Array.from({ length: count }, (_, i) => i))
  })

  test('several channels: worst state, states, and a list of cursors that continues', async () => {
    await at.server.publish('q:a', 1)
    const first = await poll(at.server, 'channel=q:a&channel=q:b&channel=q:c&since=begin,-,nonsense&wait=5')
    assert.equal(first.state, 'reset')
    assert.deepEqual(first.states, { 'q:a': 'replayed', 'q:b': 'live', 'q:c': 'reset' })
    assert.match(first.cursor, /^\w+:1,\w+:0,\w+:0$/)
    for (const channel of ['q:b', 'q:c', 'q:b']) await at.server.publish(channel, channel)
    const second = await poll(at.server, `channel=q:a&channel=q:b&channel=q:c&since=${first.cursor}&wait=5`)
    assert.deepEqual(data(second).sort(), ['q:b', 'q:b', 'q:c'])
    assert.equal(second.state, 'replayed')
    assert.match(second.cursor, /^\w+:1,\w+:2,\w+:1$/)
  })

  test('username=, room= and types= as everywhere', async () => {
    await at.server.publish('user:poll', 1)
    await at.server.publish('room:poll', { type: 'a' })
    await at.server.publish('room:poll', { type: 'b' })
    assert.equal((await poll(at.server, 'username=poll&since=begin&wait=0')).events[0].channel, 'user:poll')
    const room = await poll(at.server, 'room=poll&types=b&since=begin&wait=0')
    assert.deepEqual(data(room), [{ type: 'b' }])
  })

  test('what a filter lets by is not looked through again, nor missed when history forgets it', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'few:history_messages=5'] })
    const others = async (count) => { for (let i = 0; i < count; i++) await server.publish('few:1', { type: 'other' }) }
    let { cursor } = await poll(server, 'channel=few:1&types=mine&wait=0')
    for (let round = 1; round <= 3; round++) {
      await others(4)
      const before = cursor
      const late = await poll(server, `channel=few:1&types=mine&since=${cursor}&wait=${round % 2}`)
      assert.deepEqual([late.events, late.state], [[], 'replayed'])
      assert.match(late.cursor, new RegExp(`:${4 * round}$`))
      assert.equal((await poll(server, `channel=few:1&types=mine&since=${late.cursor}&wait=0`)).cursor, late.cursor)
      assert.equal((await poll(server, `channel=few:1&types=mine&since=${before}&wait=0`)).cursor, late.cursor)
      cursor = late.cursor
    }
    const meanwhile = poll(server, `channel=few:1&types=mine&since=${cursor}&wait=2`)
    await waiting(server, 'few:1')
    await others(20)
    cursor = (await meanwhile).cursor
    assert.match(cursor, /:32$/)
    const answer = poll(server, `channel=few:1&types=mine&since=${cursor}&wait=20`)
    await waiting(server, 'few:1')
    await others(20)
    await server.publish('few:1', { type: 'mine' })
    assert.deepEqual(data(await answer), [{ type: 'mine' }])
  })

  test('an answer is bounded: the rest comes with the next ones', async () => {
    for (let i = 0; i < 64; i++) await at.server.publishRaw('big:1', JSON.stringify(i + 'y'.repeat(50_000)))
    let cursor = 'begin', polls = 0
    const seen = []
    while (seen.length < 64 && polls < 64) {
      const reply = await at.server.get(`/poll?channel=big:1&since=${cursor}&wait=2`)
      assert.ok(reply.body.length < 1_300_000, `${reply.body.length} bytes`)
      seen.push(...data(reply.json()).map((text) => parseInt(text)))
      cursor = reply.json().cursor
      polls++
    }
    assert.deepEqual(seen, Array.from({ length: 64 }, (_, i) => i))
    assert.ok(polls >= 3, `${polls} polls`)
  })

  test('a pipelined request waits for the poll before it', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write('GET /poll?channel=p:pipe&wait=20 HTTP/1.1\r\nHost: x\r\n\r\n' +
      'GET /poll?channel=p:pipe&wait=1&since=nonsense HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    await waiting(at.server, 'p:pipe')
    await at.server.publish('p:pipe', 'x')
    assert.deepEqual(data(JSON.parse((await raw.response()).text)), ['x'])
    assert.equal(JSON.parse((await raw.response()).text).state, 'reset')
    assert.equal((await raw.response()).status, 200)
  })

  test('who leaves while it waits is forgotten at once', async (t) => {
    const gone = rawConnect(t, at.server), half = rawConnect(t, at.server)
    for (const raw of [gone, half]) raw.write('GET /poll?channel=p:gone&wait=60 HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('both wait', async () => (await polling(at.server)).length === 2)
    gone.socket.destroy()
    half.socket.end()
    await until('nobody waits', async () => (await polling(at.server)).length === 0)
    const metrics = await at.server.metrics()
    assert.equal(metrics.value('fanout_books_difference'), 0)
  })

  test('who closes its side is answered at once with what there is, also what is pipelined', async (t) => {
    await at.server.publish('p:closing', 'kept')
    const ask = (query) => `GET /poll?${query} HTTP/1.1\r\nHost: x\r\n\r\n`
    const begun = performance.now()
    const raw = rawConnect(t, at.server)
    raw.write(ask('channel=p:closing&wait=60') + ask('channel=p:closing&since=begin&wait=60') + ask('channel=p:closing&wait=60'))
    raw.socket.end()
    const answers = []
    for (let i = 0; i < 3; i++) answers.push(JSON.parse((await raw.response()).text))
    assert.deepEqual(answers.map((a) => data(a)), [[], ['kept'], []])
    assert.equal(answers[0].cursor, answers[1].cursor)
    await raw.waitEnd()
    const late = rawConnect(t, at.server)
    late.write(ask('channel=p:closing&wait=60'))
    await waiting(at.server, 'p:closing')
    late.socket.end()
    assert.deepEqual(data(JSON.parse((await late.response()).text)), [])
    await late.waitEnd()
    assert.ok(performance.now() - begun < 10_000, 'long before their time')
  })

  test('an operator can end one', async () => {
    const answer = poll(at.server, 'channel=p:cut&wait=60')
    const row = await waiting(at.server, 'p:cut')
    assert.equal((await at.server.delete(`/api/v1/connections/${row.id}`)).status, 204)
    assert.deepEqual((await answer).events, [])
  })

  test('an idle connection is kept after a long wait', async (t) => {
    const server = await startServer(t, { args: ['--http-keepalive-timeout', '2s'] })
    const raw = rawConnect(t, server)
    raw.write('GET /poll?channel=x:y&wait=3 HTTP/1.1\r\nHost: x\r\n\r\n')
    await raw.response()
    raw.write('GET /poll?channel=x:y&wait=0 HTTP/1.1\r\nHost: x\r\n\r\n')
    assert.equal((await raw.response()).status, 200)
  })

  test('what cannot be meant gets a status and a sentence', async () => {
    for (const query of ['', '?channel=x:1&wait=61', '?channel=x:1&wait=-1', '?channel=x:1&wait=soon', '?channel=x:1&room=2', '?channel=%']) {
      const reply = await at.server.get(`/poll${query}`)
      assert.equal(reply.status, 400, query)
      assert.ok(reply.json().error.message, query)
    }
  })
})

test('without history, an event between two polls is declared', async (t) => {
  const server = await startServer(t, { args: ['--namespace', 'n:history_messages=0'] })
  const { cursor } = await poll(server, 'channel=n:1&wait=0')
  const answer = poll(server, `channel=n:1&since=${cursor}&wait=20`)
  await waiting(server, 'n:1')
  await server.publish('n:1', 1)
  const first = await answer
  assert.deepEqual(data(first), [1])
  await server.publish('n:1', 2)
  assert.equal((await poll(server, `channel=n:1&since=${first.cursor}&wait=2`)).state, 'reset')
})

test('SIGTERM answers whoever waits', async (t) => {
  const server = await startServer(t)
  const answers = Array.from({ length: 20 }, () => server.get('/poll?channel=x:1&wait=60', { ms: 10_000 * SLOW }))
  await until('all wait', async () => (await polling(server)).length === 20)
  server.signal('SIGTERM')
  for (const answer of answers) {
    const reply = await answer
    assert.deepEqual([reply.status, reply.json().events, reply.headers.connection], [200, [], 'close'])
  }
  assert.deepEqual(await server.gone(), { code: 0, signal: null })
})

test('with Redis: plain PUBLISH answers a poll', async (t) => {
  const redis = await startRedis(t)
  const server = await startServer(t, { redis })
  const answer = poll(server, 'username=bob&wait=20')
  await waiting(server, 'user:bob')
  await redis.publish('workflow:events:bob', '{"n":1}')
  assert.deepEqual(data(await within('the answer', answer)), [{ n: 1 }])
})
