// Server-sent events, wire.md "SSE". Proves with fetch, curl and bytes by hand:
// - head, padding and retry hint; envelopes with ids for channel=, payloads line by line for username=
//   and room=, binary ones apart; nothing that a payload holds can break out of its event
// - Last-Event-ID beats since; of several channels the list of cursors resumes each where it was
// - a filtered stream hears with its heartbeats how far it has come, so that it can come back
// - slow readers hear of gaps, disconnect ends them; a reader that never writes is not idle
// - the listing, DELETE, SIGTERM; behind an nginx that buffers, also when it dies
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe } from 'node:test'
import { promisify } from 'node:util'
import { connect, shared, SLOW, startServer, test, until } from '../support/harness.mjs'
import { rawConnect } from '../support/raw.mjs'
import { EventStream, startNginx } from '../support/sse.mjs'

const run = promisify(execFile)
const url = (server, query) => `http://127.0.0.1:${server.port}/sse${query}`
const open = (t, server, query, options) => EventStream.open(t, url(server, query), options)
const listing = async (server) => (await server.get('/api/v1/connections')).json().connections

describe('GET /sse', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('the head keeps proxies from holding it back; a hint says when to come back', async (t) => {
    const stream = await open(t, at.server, '?channel=head:1')
    assert.equal(stream.headers.get('content-type'), 'text/event-stream')
    assert.equal(stream.headers.get('cache-control'), 'no-cache, no-transform')
    assert.equal(stream.headers.get('x-accel-buffering'), 'no')
    assert.equal(stream.headers.get('content-length'), null)
    const [state] = await stream.waitStates(1)
    assert.deepEqual(state, { channel: 'head:1', state: 'live', cursor: stream.lastEventId })
    assert.ok(stream.retry >= 1000 && stream.retry < 3000)
    const raw = rawConnect(t, at.server)
    raw.write('GET /sse?channel=head:1 HTTP/1.0\r\n\r\n')
    await until('the state notice', () => raw.text.includes('event: state'))
    assert.match(raw.text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.match(raw.text, /\r\n\r\nretry: \d+\n: {2047}\n\n/)
    assert.doesNotMatch(raw.text, /transfer-encoding/i)
  })

  test('HEAD tells the head and nothing else', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write('HEAD /sse?channel=head:1 HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('both answers', () => raw.text.split('HTTP/1.1 200').length === 3)
    assert.match(raw.text, /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/event-stream\r\n(?:(?!Content-Length)[^\r]+\r\n)*\r\nHTTP/)
  })

  test('what cannot be meant gets a status and a sentence', async () => {
    for (const [query, code] of [['', 'bad_query'], ['?channel=x:1&room=y', 'bad_query'], ['?channel=%00', 'bad_channel'], ['?room=', 'bad_query'], ['?username=x&batch_ms=5', 'bad_query']]) {
      const reply = await at.server.get(`/sse${query}`)
      assert.deepEqual([reply.status, reply.json().error.code], [400, code], query)
    }
    assert.equal((await at.server.post('/sse?room=x', '')).status, 405)
  })

  test('channel=: envelopes on one line, the cursor as id', async (t) => {
    const stream = await open(t, at.server, '?channel=env:1')
    await stream.waitStates(1)
    const { cursor } = await at.server.publish('env:1', { a: 1 })
    await at.server.publishRaw('env:1', '{\r\n  "pretty": [\n1,\n2]\n}')
    await at.server.publishRaw('env:1', 'data: x\n\nid: 99\nevent: state')
    await at.server.publishRaw('env:1', Buffer.from([0xff, 0x0a, 0x0a]))
    await stream.waitMessages(4)
    assert.deepEqual(stream.json.map(({ data, enc }) => ({ data, enc })), [
      { data: { a: 1 }, enc: undefined }, { data: { pretty: [1, 2] }, enc: undefined },
      { data: 'data: x\n\nid: 99\nevent: state', enc: 'text' }, { data: '/woK', enc: 'base64' }
    ])
    const messages = stream.events.filter((e) => e.event === 'message')
    assert.equal(messages[0].id, cursor)
    for (const { id, data } of messages) assert.equal(JSON.parse(data).cursor, id)
    assert.ok(messages.every(({ data }) => !data.includes('\n')))
  })

  test('username= and room=: the payload, line by line; binary ones have a name', async (t) => {
    const user = await open(t, at.server, '?username=alice')
    const room = await open(t, at.server, '?room=lines&client_id=me')
    await Promise.all([user.waitStates(1), room.waitStates(1)])
    await at.server.publishRaw('user:alice', '{"type":"test"}')
    const payloads = ['one', '', 'a\nb', 'a\r\nb\rc', 'id: 7\n\ndata: fake', ' space', 'é😀\n']
    for (const payload of payloads) await at.server.publishRaw('room:lines', payload)
    await at.server.publishRaw('room:lines', Buffer.from([1, 0xff]))
    assert.deepEqual(await user.waitMessages(1), ['{"type":"test"}'])
    await until('the binary one', () => room.events.at(-1)?.event === 'binary')
    assert.deepEqual(room.messages, payloads.map((text) => text.replace(/\r\n?/g, '\n')))
    assert.equal(room.events.at(-1).data, Buffer.from([1, 0xff]).toString('base64'))
    assert.match(room.lastEventId, /^[a-z0-9]+:8$/)
  })

  test('Last-Event-ID resumes, also a stream by username, and beats since', async (t) => {
    const first = await open(t, at.server, '?username=bob')
    await first.waitStates(1)
    for (let i = 0; i < 3; i++) await at.server.publish('user:bob', i)
    await first.waitMessages(3)
    first.abort()
    for (let i = 3; i < 6; i++) await at.server.publish('user:bob', i)
    const second = await open(t, at.server, '?username=bob&since=begin', { lastEventId: first.lastEventId })
    await at.server.publish('user:bob', 6)
    await second.waitMessages(4)
    assert.deepEqual(second.messages, ['3', '4', '5', '6'])
    assert.equal(second.states[0].state, 'replayed')
    assert.equal(second.states[0].cursor, first.lastEventId)
    const lost = await open(t, at.server, '?username=bob', { lastEventId: 'another:5' })
    await lost.waitStates(1)
    assert.equal(lost.states[0].state, 'reset')
    assert.equal(lost.lastEventId, second.lastEventId, 'the notice moves the id: the next time it is good')
  })

  test('several channels: one id block with the list after each flush, and it resumes all of them', async (t) => {
    const query = '?channel=list:a&channel=list:b&channel=list:c'
    const first = await open(t, at.server, query)
    await first.waitStates(3)
    for (let i = 0; i < 20; i++) await at.server.publish(`list:${'ab'[i % 2]}`, i)
    await first.waitMessages(20)
    await until('the list of cursors', () => /^\w+:10,\w+:10,\w+:0$/.test(first.lastEventId))
    assert.ok(first.blocks.every((id) => id.split(',').length === 3))
    first.abort()
    for (let i = 20; i < 24; i++) await at.server.publish(`list:${'abc'[i % 3]}`, i)
    const second = await open(t, at.server, query, { lastEventId: first.lastEventId })
    await second.waitMessages(4)
    await at.server.publish('list:c', 24)
    await second.waitMessages(5)
    assert.deepEqual(second.json.map(({ data }) => data).sort(), [20, 21, 22, 23, 24])
    assert.deepEqual(second.states.map(({ state }) => state), ['replayed', 'replayed', 'replayed'])
  })

  test('types= and batch_ms= mean what they mean on a socket', async (t) => {
    const stream = await open(t, at.server, '?channel=view:1&types=a_*&batch_ms=200')
    await stream.waitStates(1)
    for (const type of ['a_1', 'b', 'a_2']) await at.server.publish('view:1', { type })
    await stream.waitMessages(1)
    assert.deepEqual(stream.json.flat().map(({ data }) => data.type), ['a_1', 'a_2'])
    await until('the id of the last', () => /:3$/.test(stream.lastEventId))
  })

  test('curl prints the events as they come', async (t) => {
    const curl = run('curl', ['-sN', '--max-time', '2', url(at.server, '?room=curl')]).catch((error) => error)
    await until('curl is there', async () => (await listing(at.server)).some((row) => row.channels[0] === 'room:curl'))
    await at.server.publish('room:curl', { hello: 'curl' })
    const { stdout } = await curl
    assert.match(stdout, /\n\nid: \w+:1\ndata: \{"hello":"curl"\}\n\n$/)
  })

  test('the listing names the transport; DELETE ends the stream with a word', async (t) => {
    const stream = await open(t, at.server, '?username=carol')
    await stream.waitStates(1)
    await at.server.publish('user:carol', 1)
    await stream.waitMessages(1)
    const row = (await listing(at.server)).find(({ user }) => user === 'carol')
    assert.deepEqual([row.transport, row.channels, row.delivered], ['sse', ['user:carol'], 1])
    const metrics = await at.server.metrics()
    assert.ok(metrics.value('fanout_connections', { transport: 'sse', endpoint: 'user' }) >= 1)
    assert.equal((await at.server.delete(`/api/v1/connections/${row.id}`)).status, 204)
    assert.equal(await stream.waitEnd(), 'end')
    assert.equal(stream.comments.at(-1), 'cut by an operator')
    assert.ok(!(await listing(at.server)).some(({ user }) => user === 'carol'))
  })

  test('a reader that is gone is noticed', async (t) => {
    const stream = await open(t, at.server, '?username=dave')
    await stream.waitStates(1)
    stream.abort()
    await until('it is gone', async () => !(await listing(at.server)).some(({ user }) => user === 'dave'))
  })
})

describe('slow readers', () => {
  const flood = async (server, channel, count) => {
    for (let i = 0; i < count; i++) await server.publishRaw(channel, `"${String(i).padStart(8, '0')}${'.'.repeat(48 * 1024)}"`)
  }

  for (const query of ['?channel=slow:1', '?channel=slow:1&channel=slow:2', '?room=slow']) {
    test(`${query}: every message comes or is named in a gap`, async (t) => {
      const channel = query.startsWith('?room') ? 'room:slow' : 'slow:1'
      const server = await startServer(t, { args: ['--namespace', `${channel.split(':')[0]}:outbox_messages=20`] })
      const raw = rawConnect(t, server)
      raw.write(`GET /sse${query} HTTP/1.1\r\nHost: x\r\n\r\n`)
      await until('the state notice', () => raw.text.includes('event: state'))
      raw.socket.pause()
      await flood(server, channel, 400)
      const dropped = await until('something is dropped', async () => (await listing(server))[0].dropped.slow)
      raw.socket.resume()
      const seen = await until('the last one has come', () => {
        if (!raw.text.includes('"00000399')) return null
        const blocks = raw.text.split('\n\n')
        return blocks.at(-1) === '' && blocks
      }, { ms: 20_000 * SLOW })
      let next = 1, gaps = 0
      for (const block of seen) {
        const gap = /^event: gap\ndata: \{"gap":\{"channel":"[^"]+","from":(\d+),"to":(\d+),"reason":"slow"\}\}$/.exec(block)
        const message = /data: .*"(\d{8})\./.exec(block)
        const list = /^id: \w+:(\d+),\w+:(\d+)$/.exec(block)
        if (gap) {
          assert.equal(Number(gap[1]), next)
          gaps += Number(gap[2]) - next + 1
          next = Number(gap[2]) + 1
        } else if (message) {
          assert.equal(Number(message[1]) + 1, next++)
        } else if (list) {
          assert.equal(Number(list[1]), next - 1, 'the list says where the reader is')
        }
      }
      assert.equal(next, 401)
      assert.equal(gaps, (await listing(server))[0].dropped.slow)
      assert.ok(gaps >= dropped)
    })
  }

  test('disconnect ends the stream with a reason', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'room:policy=disconnect,outbox_messages=20'] })
    const raw = rawConnect(t, server)
    raw.write('GET /sse?room=slow HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('the state notice', () => raw.text.includes('event: state'))
    raw.socket.pause()
    // Not longer: what takes nothing is waited for a second and no more.
    for (let sent = 0; !server.output.includes('conn.cut'); sent += 8) {
      assert.ok(sent < 400, 'it is never cut')
      await flood(server, 'room:slow', 8)
    }
    raw.socket.resume()
    await raw.waitEnd(20_000 * SLOW)
    assert.match(raw.text, /\n\n: too slow: what waited for this connection is lost\n\n$/)
  })

  test('who never writes is not idle as long as it takes its heartbeats', async (t) => {
    const server = await startServer(t, { args: ['--idle-timeout', '3s', '--ws-ping-interval', '1s', '--http-keepalive-timeout', '1s'] })
    const stream = await open(t, server, '?username=quiet')
    const socket = await connect(t, server, '?username=quiet')
    await stream.waitStates(1)
    const before = stream.comments.length
    await until('a comment has come as a heartbeat', () => stream.comments.length > before, { ms: 25_000 })
    assert.equal(stream.ended, false)
    await server.publish('user:quiet', 1)
    await stream.waitMessages(1)
    assert.equal(socket.closed, null)
  })
})

test('a filter lets everything by: heartbeats bring the id along, and history may forget what passed', async (t) => {
  const server = await startServer(t, { args: ['--namespace', 'few:history_messages=5'] })
  const follow = async (query, ends) => {
    const channels = [...query.matchAll(/channel=([^&]+)/g)].map(([, channel]) => channel)
    const first = await open(t, server, `${query}&types=mine`)
    await first.waitStates(channels.length)
    await server.publish(channels[0], { type: 'mine', n: 1 })
    await first.waitMessages(1)
    for (const channel of channels) for (let i = 0; i < 20; i++) await server.publish(channel, { type: 'other' })
    await until(`the id of ${query} has moved`, () => first.lastEventId.replace(/\w+:/g, '') === ends, { ms: 25_000 })
    assert.deepEqual(first.json.flat().map(({ data }) => data.n), [1])
    first.abort()
    await server.publish(channels[0], { type: 'mine', n: 2 })
    const second = await open(t, server, `${query}&types=mine`, { lastEventId: first.lastEventId })
    await second.waitMessages(1)
    assert.deepEqual(second.json.flat().map(({ data }) => data.n), [2])
    assert.ok(second.states.every(({ state }) => state !== 'reset'), JSON.stringify(second.states))
  }
  const unfiltered = async () => {
    const stream = await open(t, server, '?username=plain')
    await stream.waitStates(1)
    const [blocks, comments] = [stream.blocks.length, stream.comments.length]
    await until('a heartbeat', () => stream.comments.length > comments, { ms: 25_000 })
    assert.equal(stream.blocks.length, blocks, 'a comment and no more')
  }
  await Promise.all([
    follow('?channel=few:one', '21'), follow('?channel=few:a&channel=few:b', '21,20'),
    follow('?channel=few:packed&batch_ms=20', '21'), unfiltered()
  ])
})

test('SIGTERM: what was published is delivered, each stream hears when to come back, and ends', async (t) => {
  const server = await startServer(t)
  const streams = await Promise.all(Array.from({ length: 20 }, (_, i) => open(t, server, i % 2 ? '?room=all' : '?channel=room:all&channel=x:y')))
  await Promise.all(streams.map((stream, i) => stream.waitStates(i % 2 ? 1 : 2)))
  const payload = 'x'.repeat(4096)
  for (let i = 0; i < 100; i++) await server.publish('room:all', i + payload)
  server.signal('SIGTERM')
  assert.deepEqual(await server.gone(), { code: 0, signal: null })
  for (const stream of streams) {
    assert.equal(await stream.waitEnd(), 'end')
    assert.equal(stream.messages.length, 100)
    assert.ok(stream.retry >= 100 && stream.retry < 1000, `retry ${stream.retry}`)
    assert.match(stream.lastEventId, /^\w+:100(,\w+:0)?$/)
  }
  assert.ok(new Set(streams.map(({ retry }) => retry)).size > 1, 'the return of the clients is spread')
})

describe('behind nginx with its default buffering', () => {
  test('events come at once, and after nginx dies the stream is resumed without a hole', async (t) => {
    const server = await startServer(t)
    const nginx = await startNginx(t, server)
    const first = await EventStream.open(t, `${nginx.url}/sse?username=erin`)
    await first.waitStates(1)
    const started = performance.now()
    for (let i = 0; i < 5; i++) {
      await server.publish('user:erin', i)
      await first.waitMessages(i + 1)
    }
    assert.ok(performance.now() - started < 2000 * SLOW, 'nothing is held back')
    await nginx.restart()
    await first.waitEnd()
    for (let i = 5; i < 8; i++) await server.publish('user:erin', i)
    const second = await EventStream.open(t, `${nginx.url}/sse?username=erin`, { lastEventId: first.lastEventId })
    await second.waitMessages(3)
    assert.deepEqual([...first.messages, ...second.messages], ['0', '1', '2', '3', '4', '5', '6', '7'])
  })

  test('also with gzip on, and a hundred channels', async (t) => {
    const server = await startServer(t)
    const nginx = await startNginx(t, server, { location: 'gzip on; gzip_types text/event-stream;' })
    const query = Array.from({ length: 100 }, (_, i) => `channel=many:${i}`).join('&')
    const stream = await EventStream.open(t, `${nginx.url}/sse?${query}`, { headers: { 'accept-encoding': 'identity' } })
    await stream.waitStates(100)
    await server.publish('many:99', 1)
    await stream.waitMessages(1)
    await until('the list of cursors', () => stream.lastEventId.endsWith(':1'))
    assert.equal(stream.lastEventId.split(',').length, 100)
  })
})
