// Channels by URL and by the subprotocol fanout.v1, wire.md. Proves with `ws` clients:
// - ?channel=A&channel=B: envelope frames {"channel","cursor","data"} and one state notice a subscription
// - data is spliced in byte for byte when it is JSON, else a string with "enc":"text", else base64
// - exactly one of username, room, channel; at most 100 channels; channel names as wire.md bounds them
// - fanout.v1: subscribe, unsubscribe, publish, history, ping with ids; acks and errors; read limit 64 KiB
// - only fanout.v1 is echoed, also beside fanout.token.*; raw sockets stay raw and get Fanout-State
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { assertError, connect, nothingBut, refused, shared, sleep, startRedis, startServer, test, until } from '../support/harness.mjs'
import { OP, rawWs } from '../support/raw.mjs'

const CURSOR = /^[a-z0-9]+:\d+$/
const offset = (cursor) => { assert.match(cursor, CURSOR); return BigInt(cursor.split(':')[1]) }
const events = (client) => client.json.filter((m) => 'data' in m)

describe('channels by URL', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))
  const open = (t, channels, rest = '') => connect(t, at.server, '?' + channels.map((c) => `channel=${encodeURIComponent(c)}`).join('&') + rest)

  test('a live subscription begins with one state notice a channel, then envelopes', async (t) => {
    const client = await open(t, ['a:x', 'b:y'])
    await client.waitFrames(2)
    const states = client.json
    assert.deepEqual(new Set(states.map((s) => s.channel)), new Set(['a:x', 'b:y']))
    for (const state of states) {
      assert.equal(state.state, 'live')
      assert.match(state.cursor, CURSOR)
      assert.deepEqual(Object.keys(state).sort(), ['channel', 'cursor', 'state'])
    }
    const first = await at.server.publish('a:x', { n: 1 })
    const second = await at.server.publish('b:y', [2])
    await at.server.publish('c:z', 'not mine')
    await client.waitFrames(4)
    assert.deepEqual(events(client), [
      { channel: 'a:x', cursor: first.cursor, data: { n: 1 } },
      { channel: 'b:y', cursor: second.cursor, data: [2] }
    ])
    await at.server.publish('a:x', 'end')
    await client.waitJson('end', (m) => m.data === 'end')
    assert.equal(client.frames.length, 5, 'nothing of c:z came between')
  })

  test('the envelope reads channel, cursor, data in this order', async (t) => {
    const client = await open(t, ['a:order'])
    await at.server.publishRaw('a:order', '{"b":1,"a":2}')
    await client.waitFrames(2)
    assert.match(client.texts[1], /^\{"channel":"a:order","cursor":"[a-z0-9]+:\d+","data":\{"b":1,"a":2\}\}$/)
  })

  test('a payload that is JSON is spliced in byte for byte', async (t) => {
    const client = await open(t, ['a:splice'])
    const payloads = ['{"z" : 1.50,  "a":"\\u00e9", "z":2}', '[1,\n2]', '"text"', '12345678901234567890', '1e400', 'true', 'null', '-0']
    for (const payload of payloads) await at.server.publishRaw('a:splice', payload)
    await client.waitFrames(1 + payloads.length)
    for (const [i, payload] of payloads.entries()) {
      const text = client.texts[1 + i]
      assert.ok(text.endsWith(`"data":${payload}}`), text)
      assert.ok(!text.includes('"enc"'), text)
    }
  })

  test('other UTF-8 becomes a string with "enc":"text", the rest base64', async (t) => {
    const client = await open(t, ['a:enc'])
    const texts = ['hello', '', '{"a":1', '{"a":1} x', "{'a':1}", 'line\n"q" \\ \u0000\u001f é 😀', '01', 'NaN', '\ufeff{}']
    for (const text of texts) await at.server.publishRaw('a:enc', text)
    const bytes = Buffer.from([0, 0xff, 0xfe, 0x80])
    await at.server.publishRaw('a:enc', bytes)
    await client.waitFrames(2 + texts.length)
    const got = events(client)
    assert.deepEqual(got.slice(0, -1).map((m) => [m.data, m.enc]), texts.map((text) => [text, 'text']))
    assert.deepEqual([got.at(-1).data, got.at(-1).enc], [bytes.toString('base64'), 'base64'])
  })

  test('user: and room: channels are the same streams as username= and room=', async (t) => {
    const envelope = await open(t, ['user:dora', 'room:hall'])
    const [user, member] = [await connect(t, at.server, '?username=dora'), await connect(t, at.server, '?room=hall&client_id=m')]
    await at.server.publish('user:dora', { to: 'dora' })
    await member.send('hi all')
    await envelope.waitFrames(4)
    await user.waitFrames(1)
    await member.waitFrames(1)
    assert.deepEqual(user.texts, ['{"to":"dora"}'])
    assert.deepEqual(member.texts, ['hi all'])
    const got = events(envelope)
    assert.deepEqual(got.find((m) => m.channel === 'user:dora').data, { to: 'dora' })
    assert.deepEqual([got.find((m) => m.channel === 'room:hall').data, got.find((m) => m.channel === 'room:hall').enc], ['hi all', 'text'])
  })

  test('raw sockets get no notice, and the state as header Fanout-State', async (t) => {
    for (const query of ['?username=raw', '?room=raw']) {
      const client = await connect(t, at.server, query)
      assert.match(client.headers['fanout-state'] ?? '', /^live/)
    }
  })

  test('cursors of one channel increase, one epoch', async (t) => {
    const client = await open(t, ['a:inc'])
    const acks = []
    for (let i = 0; i < 20; i++) acks.push(await at.server.publish('a:inc', i))
    await client.waitFrames(21)
    const cursors = events(client).map((m) => m.cursor)
    assert.deepEqual(cursors, acks.map((a) => a.cursor))
    assert.equal(new Set(cursors.map((c) => c.split(':')[0])).size, 1)
    for (let i = 1; i < 20; i++) assert.equal(offset(cursors[i]), offset(cursors[i - 1]) + 1n, 'without holes')
    assert.ok(offset(cursors.at(-1)) < 2n ** 53n)
  })

  test('a hundred channels are fine and each delivers', async (t) => {
    const names = Array.from({ length: 100 }, (_, i) => `many:${i}`)
    const client = await open(t, names)
    await client.waitFrames(100)
    for (const name of names) await at.server.publish(name, name)
    await client.waitFrames(200)
    // Each once; in any order, as channels live on different shards and order is promised within one channel.
    assert.deepEqual(events(client).map((m) => m.data).sort(), [...names].sort())
    for (const m of events(client)) assert.equal(m.channel, m.data)
  })

  test('names at their bounds', async (t) => {
    for (const name of ['a:b', `${'n'.repeat(64)}:x`, `a-b_c9:${'x'.repeat(255)}`, 'a:é:😀 /?#', `a:${'é'.repeat(127)}x`]) {
      const client = await open(t, [name])
      await at.server.publish(name, 1)
      const message = await client.waitJson('data', (m) => 'data' in m)
      assert.equal(message.channel, name)
    }
  })

  test('a bad channel name is 400 with a sentence', async () => {
    for (const bad of ['', 'x', ':x', 'a:', 'A:x', 'a b:x', 'é:x', 'a.b:x', `${'n'.repeat(65)}:x`, `a:${'x'.repeat(256)}`, `a:${'é'.repeat(128)}`]) {
      assertError(await refused(at.server, `?channel=${encodeURIComponent(bad)}`), 400)
      assertError(await refused(at.server, `?channel=a:fine&channel=${encodeURIComponent(bad)}`), 400)
    }
    for (const bad of ['a:%01', 'a:%00', 'a:%7F', 'a:x%0Ay', 'a:%FF', 'a:%C3']) assertError(await refused(at.server, `?channel=${bad}`), 400)
    assertError(await refused(at.server, `?channel=a:${'x'.repeat(300)}`), 400, 'bad_channel')
  })

  test('exactly one of username, room, channel, else 400; 101 channels are 400', async () => {
    for (const query of ['', '?since=begin', '?username=a&room=b', '?username=a&channel=a:b', '?room=a&channel=a:b', '?username=a&room=b&channel=c:d']) {
      assertError(await refused(at.server, query), 400)
    }
    assertError(await refused(at.server, '?' + Array.from({ length: 101 }, (_, i) => `channel=a:${i}`).join('&')), 400)
  })

  test('types= lets pass what is named, on raw sockets too, live and in a replay', async (t) => {
    const send = (n, type) => at.server.publish('user:f', { n, ...(type ? { type } : {}) })
    const ns = (client) => client.json.filter((m) => m.data ?? m.n).map((m) => m.data?.n ?? m.n)
    const some = await open(t, ['user:f'], '&types=node_failed,workflow_*')
    const raw = await connect(t, at.server, '?username=f&types=workflow_*')
    const all = await open(t, ['user:f'])
    for (const [n, type] of [[1, 'node_completed'], [2, 'node_failed'], [3, null], [4, 'workflow_completed'], [5, 'workflow'], [6, 'node_failed']]) await send(n, type)
    await all.waitFrames(7)
    await until('the filtered ones have theirs', () => ns(some).length >= 3 && raw.frames.length >= 1)
    assert.deepEqual(ns(some), [2, 4, 6])
    assert.deepEqual(ns(raw), [4])
    const again = await open(t, ['user:f'], '&types=node_failed&since=begin')
    await again.waitFrames(3)
    assert.deepEqual(ns(again), [2, 6])
  })

  test('batch_ms= puts what comes within that time in one frame, an array; others get a frame each', async (t) => {
    const packed = await open(t, ['a:pack'], '&batch_ms=200')
    const plain = await open(t, ['a:pack'])
    await packed.waitFrames(1)
    await plain.waitFrames(1)
    const cursors = []
    for (let i = 0; i < 20; i++) cursors.push((await at.server.publish('a:pack', i)).cursor)
    await plain.waitFrames(21)
    await until('all have come', () => packed.json.slice(1).flat().length >= 20)
    assert.ok(packed.frames.length < 12, `${packed.frames.length} frames`)
    assert.ok(packed.json.slice(1).every(Array.isArray))
    assert.deepEqual(packed.json.slice(1).flat(), cursors.map((cursor, data) => ({ channel: 'a:pack', cursor, data })))
    const again = await open(t, ['a:pack'], `&batch_ms=50&since=${cursors[9]}`)
    await again.waitFrames(2)
    assert.deepEqual(again.json[1].map((m) => m.data), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
  })

  test('bad types= and batch_ms= are refused with a sentence', async () => {
    for (const bad of ['types=a,', 'types=,', 'types=*a', `types=${'x'.repeat(65)}`, 'batch_ms=x', 'batch_ms=-1', 'batch_ms=1001', 'batch_ms=']) {
      assertError(await refused(at.server, `?channel=a:b&${bad}`), 400, 'bad_query')
    }
    assertError(await refused(at.server, '?username=a&batch_ms=50'), 400, 'bad_query')
  })
})

describe('subprotocol fanout.v1', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))
  const open = (t, query = '?channel=a:base') => connect(t, at.server, query, { protocols: ['fanout.v1'] })
  let id = 0
  const ask = async (client, command) => {
    const mine = ++id
    await client.send(JSON.stringify({ id: mine, ...command }))
    return client.waitJson(`id ${mine}`, (m) => m.id === mine)
  }

  test('subscribe takes types and batch_ms', async (t) => {
    const client = await open(t)
    assert.ok('ok' in await ask(client, { subscribe: { channel: 'a:v', types: ['yes', 'also_*'], batch_ms: 100 } }))
    for (const type of ['yes', 'no', 'also_this']) await at.server.publish('a:v', { type })
    await until('two have come', () => client.json.filter(Array.isArray).flat().length >= 2)
    assert.deepEqual(client.json.filter(Array.isArray).flat().map((m) => m.data.type), ['yes', 'also_this'])
    for (const bad of [{ types: 'a' }, { types: [1] }, { types: ['a,b'] }, { types: [''] }, { types: ['*a'] }, { types: ['a', ] , batch_ms: 1001 }, { batch_ms: '5' }]) {
      assert.equal((await ask(client, { subscribe: { channel: 'a:w', ...bad } })).error.code, 'bad_command', JSON.stringify(bad))
    }
  })

  test('only fanout.v1 is echoed', async (t) => {
    for (const protocols of [['fanout.v1'], ['other', 'fanout.v1'], ['fanout.v1', 'fanout.token.abc']]) {
      const client = await connect(t, at.server, '?channel=a:base', { protocols })
      assert.equal(client.socket.protocol, 'fanout.v1')
    }
    const reply = await refused(at.server, '?channel=a:base', { 'sec-websocket-protocol': 'chat' })
    assert.equal(reply.headers['sec-websocket-protocol'], undefined)
  })

  test('subscribe: an ack, a state notice, then its events; unsubscribe ends them', async (t) => {
    const client = await open(t)
    assert.ok('ok' in await ask(client, { subscribe: { channel: 'a:more' } }))
    const state = await client.waitJson('state', (m) => m.channel === 'a:more' && m.state)
    assert.equal(state.state, 'live')
    await at.server.publish('a:more', 1)
    assert.equal((await client.waitJson('data', (m) => m.channel === 'a:more' && 'data' in m)).data, 1)
    assert.ok('ok' in await ask(client, { unsubscribe: { channel: 'a:more' } }))
    await at.server.publish('a:more', 2)
    await at.server.publish('a:base', 'end')
    await client.waitJson('end', (m) => m.data === 'end')
    assert.deepEqual(events(client).map((m) => m.data), [1, 'end'])
  })

  test('the state notice comes before the first event of the subscription', async (t) => {
    const client = await open(t)
    const timer = setInterval(() => at.server.publish('a:race', 1).catch(() => {}), 5)
    t.after(() => clearInterval(timer))
    for (let round = 0; round < 10; round++) {
      const from = client.frames.length
      await ask(client, { subscribe: { channel: 'a:race' } })
      await until('some events', () => client.json.slice(from).filter((m) => m.channel === 'a:race' && 'data' in m).length > 2)
      const mine = client.json.slice(from).filter((m) => m.channel === 'a:race')
      assert.ok(mine[0].state, JSON.stringify(mine[0]))
      const offsets = mine.filter((m) => 'data' in m).map((m) => offset(m.cursor))
      assert.equal(offsets[0], offset(mine[0].cursor) + 1n, 'nothing falls between the state and the first event')
      await ask(client, { unsubscribe: { channel: 'a:race' } })
    }
  })

  test('publish: an ack, and the event at every subscriber', async (t) => {
    const [one, two] = [await open(t, '?channel=a:pub'), await connect(t, at.server, '?channel=a:pub')]
    assert.ok('ok' in await ask(one, { publish: { channel: 'a:pub', data: { deep: [1, { two: null }] } } }))
    for (const client of [one, two]) {
      assert.deepEqual((await client.waitJson('data', (m) => 'data' in m)).data, { deep: [1, { two: null }] })
    }
  })

  test('ids are echoed as they came: numbers, zero, large, strings', async (t) => {
    const client = await open(t)
    for (const odd of [0, 9007199254740991, -1, 'a-string']) {
      await client.send(JSON.stringify({ id: odd, ping: {} }))
      assert.ok('ok' in await client.waitJson(`id ${odd}`, (m) => m.id === odd))
    }
  })

  test('history answers with what is kept', async (t) => {
    const client = await open(t)
    for (let i = 0; i < 5; i++) await at.server.publish('a:hist', i)
    const reply = await ask(client, { history: { channel: 'a:hist', since: 'begin', limit: 3 } })
    assert.deepEqual(reply.ok.events.map((e) => e.data), [0, 1, 2])
  })

  test('long histories asked for in one go are answered one after the other, and the connection lives on', async (t) => {
    for (let i = 0; i < 60; i++) await at.server.publishRaw('a:long', 'x'.repeat(15_000))
    const ws = await rawWs(t, at.server, '?channel=a:base', { 'Sec-WebSocket-Protocol': 'fanout.v1' })
    ws.socket.pause()
    const count = 12
    for (let i = 0; i < count; i++) ws.send(OP.TEXT, JSON.stringify({ id: i, history: { channel: 'a:long', limit: 1000 } }))
    await sleep(300)
    ws.socket.resume()
    const answers = []
    while (answers.length < count) {
      const reply = JSON.parse((await ws.next()).payload)
      if ('id' in reply) answers.push(reply)
    }
    assert.deepEqual(answers.map((a) => a.id), Array.from({ length: count }, (_, i) => i))
    for (const a of answers) assert.equal(a.ok?.events.length, 60, JSON.stringify(a.error))
    ws.send(OP.TEXT, JSON.stringify({ id: 'last', history: { channel: 'a:long', limit: 1 } }))
    assert.equal(JSON.parse((await ws.next()).payload).ok.events.length, 1)
  })

  test('with much waiting a subscription is answered, and its replay follows when the rest is read', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'deep:outbox_messages=100000,outbox_bytes=64MiB'] })
    const ws = await rawWs(t, server, '?channel=deep:a', { 'Sec-WebSocket-Protocol': 'fanout.v1' })
    for (let i = 0; i < 50; i++) await server.publish('a:back', i)
    ws.socket.pause()
    for (let i = 0; i < 800; i++) await server.publishRaw('deep:a', 'x'.repeat(20_000))
    ws.send(OP.TEXT, JSON.stringify({ id: 1, subscribe: { channel: 'a:live' } }))
    ws.send(OP.TEXT, JSON.stringify({ id: 2, subscribe: { channel: 'a:back', since: 'begin' } }))
    await sleep(300)
    ws.socket.resume()
    const answers = {}
    const back = []
    while (Object.keys(answers).length < 2 || back.length < 50) {
      const reply = JSON.parse((await ws.next()).payload)
      if ('id' in reply) answers[reply.id] = reply
      else if (reply.channel === 'a:back' && 'data' in reply) back.push(reply.data)
    }
    assert.equal(answers[1].ok?.state, 'live', JSON.stringify(answers[1]))
    assert.equal(answers[2].ok?.state, 'replayed', JSON.stringify(answers[2]))
    assert.deepEqual(back, Array.from({ length: 50 }, (_, i) => i))
  })

  test('an idempotency key publishes once, and is good over HTTP too', async (t) => {
    const client = await open(t, '?channel=a:key')
    const publish = { channel: 'a:key', data: 1, idempotency_key: 'kk' }
    const first = await ask(client, { publish })
    const again = await ask(client, { publish })
    assert.deepEqual([first.ok.duplicate, again.ok.duplicate, again.ok.cursor], [false, true, first.ok.cursor])
    assert.equal((await at.server.post('/api/v1/publish', publish)).json().duplicate, true)
    assert.equal((await ask(client, { publish: { ...publish, idempotency_key: 'other' } })).ok.duplicate, false)
    await client.waitJson('a second event', (m) => m.data === 1 && m.cursor !== first.ok.cursor)
    assert.equal(events(client).length, 2)
    for (const idempotency_key of ['', 5, null, 'k'.repeat(256)]) {
      const reply = await ask(client, { publish: { ...publish, idempotency_key } })
      assert.equal(reply.error?.code, 'bad_command', JSON.stringify(reply))
    }
  })

  test('"ack":"durable" is answered once it is kept, or with not_durable', async (t) => {
    const client = await open(t)
    const kept = await ask(client, { publish: { channel: 'user:durable', data: 1, ack: 'durable' } })
    assert.match(kept.ok?.cursor ?? '', CURSOR, JSON.stringify(kept))
    const not = await ask(client, { publish: { channel: 'room:durable', data: 1, ack: 'durable' } })
    assert.equal(not.error?.code, 'not_durable', JSON.stringify(not))
    for (const ack of ['', 'stored', true, null]) {
      const reply = await ask(client, { publish: { channel: 'user:durable', data: 1, ack } })
      assert.equal(reply.error?.code, 'bad_command', JSON.stringify(reply))
    }
  })

  test('errors carry the id, a code and a sentence, and the connection lives on', async (t) => {
    const client = await open(t)
    for (const bad of [{ subscribe: { channel: 'NO' } }, { subscribe: {} }, { subscribe: 'a:x' }, { publish: { channel: 'a:x' } },
      { publish: { channel: 'a:', data: 1 } }, { explode: {} }, {}, { history: { channel: '' } }]) {
      const reply = await ask(client, bad)
      assert.match(reply.error?.code ?? '', /^[a-z0-9_]+$/, JSON.stringify([bad, reply]))
      assert.ok(reply.error.message.length >= 8)
      assert.ok(!('ok' in reply))
    }
    assert.ok('ok' in await ask(client, { ping: {} }))
  })

  test('refresh is answered, and not with ok: nobody asks for tokens here', async (t) => {
    const client = await open(t)
    const reply = await ask(client, { refresh: { token: 'abc' } })
    assert.equal(reply.error?.code, 'auth_off', JSON.stringify(reply))
    assert.equal((await ask(client, { refresh: { token: 'abc' }, ping: {} })).error?.code, 'bad_command')
    assert.equal((await ask(client, { subscribe: { channel: 'a:two' }, ping: {} })).error?.code, 'bad_command')
    assert.ok('ok' in await ask(client, { ping: {} }))
  })

  test('a text that is no JSON object is an error without an id, and the connection lives on', async (t) => {
    const client = await open(t)
    for (const text of ['nonsense', '[1]', '"x"', '{"id":1,"ping":{}', '']) {
      const before = client.json.filter((m) => m.error).length
      await client.send(text)
      await until(`an error for ${text}`, () => client.json.filter((m) => m.error).length > before)
    }
    assert.ok('ok' in await ask(client, { ping: {} }))
  })

  test('an id that is none, or too long, and a binary message are told so, and the connection lives on', async (t) => {
    const client = await open(t)
    let count = 0
    const refused = async (message, options) => {
      await client.send(message, options)
      const found = await until(`an error for ${String(message).slice(0, 60)}`, () => client.json.filter((m) => m.error)[count])
      count++
      assert.deepEqual([found.id, found.error.code], [null, 'bad_command'])
      return found.error.message
    }
    for (const id of ['null', 'true', 'false', '{}', '[1]']) assert.match(await refused(`{"id":${id},"ping":{}}`), /a number or a string/)
    assert.match(await refused('{"ping":{}}'), /a number or a string/)
    assert.match(await refused(JSON.stringify({ id: 'i'.repeat(127), ping: {} })), /128 bytes/)
    assert.match(await refused(Buffer.from('{"id":1,"ping":{}}'), { binary: true }), /text message/)
    const longest = 'i'.repeat(126)
    await client.send(JSON.stringify({ id: longest, ping: {} }))
    assert.ok('ok' in await client.waitJson('the longest id', (m) => m.id === longest))
    assert.equal(client.json.filter((m) => m.ok).length, 1)
  })

  test('64 KiB pass, more close with 1009', async (t) => {
    const client = await open(t, '?channel=a:wide')
    const fill = (size) => {
      const empty = JSON.stringify({ id: 1, publish: { channel: 'a:wide', data: '' } })
      return JSON.stringify({ id: 1, publish: { channel: 'a:wide', data: 'x'.repeat(size - empty.length) } })
    }
    await client.send(fill(65536))
    assert.ok('ok' in await client.waitJson('id 1', (m) => m.id === 1))
    client.socket.send(fill(65537))
    assert.equal((await client.waitClosed()).code, 1009)
  })

  test('username= and room= sockets speak no protocol: fanout.v1 is not selected, alone or beside a token', async (t) => {
    for (const query of ['?username=raw', '?room=raw']) {
      for (const offered of ['fanout.v1', 'fanout.v1, fanout.token.abc']) {
        const ws = await rawWs(t, at.server, query, { 'Sec-WebSocket-Protocol': offered })
        assert.equal(ws.handshake.headers['sec-websocket-protocol'], undefined, `${query} ${offered}`)
      }
      await assert.rejects(connect(t, at.server, query, { protocols: ['fanout.v1'] }), /subprotocol/)
    }
    const ws = await rawWs(t, at.server, '?channel=a:raw', { 'Sec-WebSocket-Protocol': 'fanout.v1' })
    assert.equal(ws.handshake.headers['sec-websocket-protocol'], 'fanout.v1')
  })

  test('a username socket with fanout.v1 unasked stays raw', async (t) => {
    const client = await connect(t, at.server, '?username=plain')
    await client.send('{"id":1,"ping":{}}')
    await nothingBut(client, 0, '"end"', () => at.server.publish('user:plain', 'end'))
  })
})

describe('channels over Redis', () => {
  test('any other channel C travels on fanout:ch:C and reaches every gateway', async (t) => {
    const redis = await startRedis(t)
    const [one, two] = await Promise.all([startServer(t, { redis }), startServer(t, { redis })])
    const clients = [await connect(t, one, '?channel=news:x'), await connect(t, two, '?channel=news:x')]
    for (const client of clients) await client.waitFrames(1)
    await one.publish('news:x', { via: 'http' })
    await redis.publish('fanout:ch:news:x', '{"via":"redis"}')
    for (const client of clients) {
      await client.waitFrames(3)
      assert.deepEqual(events(client).map((m) => m.data), [{ via: 'http' }, { via: 'redis' }])
    }
  })

  test('a user event and a room envelope from Redis reach channel= subscribers', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    const client = await connect(t, server, '?channel=user:u&channel=room:r')
    await client.waitFrames(2)
    await redis.publish('workflow:events:u', '{"type":"x"}')
    await redis.publish('room:r', '{"room":"r","from":"f","data":"plain"}')
    await client.waitFrames(4)
    assert.deepEqual(events(client).map((m) => [m.channel, m.data, m.enc]), [['user:u', { type: 'x' }, undefined], ['room:r', 'plain', 'text']])
  })
})
