// Rooms, contracts.md section 2. Proves, over a real Redis and real `ws` clients:
// - a client's message goes to Redis channel room:R as exactly {"room","from","data"}, seen by redis-cli
// - every member, the sender too, gets the data alone as one text frame, once; on two gateways as well
// - from is "" without client_id; binary UTF-8 is text; other binary is base64 with "enc"
// - an outside publisher's envelope works; malformed ones and a data that is no string are dropped and counted
// - missing room is 400; above 1 MiB is 1009; 1 MiB itself passes
// - /healthz 200 ok, 503 "redis down"; /metrics has rooms, clients, dropped_messages as plain names
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { assertError, connect, nothingBut, refused, shared, startRedis, startServer, test, until } from '../support/harness.mjs'
import { roseBy } from '../support/prometheus.mjs'

describe('rooms on two gateways of one Redis', () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const [one, two] = await Promise.all([startServer(t, { redis }), startServer(t, { redis })])
    const seen = [] // Everything on room:* as an outside subscriber sees it.
    const watcher = await redis.client(t)
    await watcher.pSubscribe('room:*', (message, channel) => seen.push({ channel: channel.toString(), message }), true)
    return { redis, one, two, seen, pub: await redis.client(t) }
  })
  const join = (t, server, room, id) =>
    connect(t, server, `?room=${encodeURIComponent(room)}${id === undefined ? '' : `&client_id=${encodeURIComponent(id)}`}`)
  const envelopes = (room) => at.seen.filter((s) => s.channel === `room:${room}`).map((s) => s.message.toString())

  test("a client's message reaches every member on both gateways once, the sender too", async (t) => {
    const members = [await join(t, at.one, 'lobby', 'ann'), await join(t, at.one, 'lobby', 'bob'), await join(t, at.two, 'lobby', 'cid'), await join(t, at.two, 'lobby')]
    const outsider = await join(t, at.two, 'lobby2', 'eve')
    await members[0].send('hello')
    await members[2].send('{"from":"cid"}')
    for (const member of members) await member.waitFrames(2)
    for (const member of members) await nothingBut(member, 2, 'end', () => member === members[0] ? members[1].send('end') : null)
    for (const member of members) assert.deepEqual([...member.texts].sort(), ['end', 'hello', '{"from":"cid"}'])
    await nothingBut(outsider, 0, 'own', () => outsider.send('own'))
  })

  test('Redis carries exactly {"room","from","data"}', async (t) => {
    const client = await join(t, at.one, 'shape', 'c-7')
    const data = 'line\nquote " back\\slash é 😀 \u0001 </x>'
    await client.send(data)
    await client.waitFrames(1)
    assert.deepEqual(client.texts, [data])
    await until('the watcher saw it', () => envelopes('shape').length === 1)
    const envelope = JSON.parse(envelopes('shape')[0])
    assert.deepEqual(envelope, { room: 'shape', from: 'c-7', data })
    assert.deepEqual(Object.keys(envelope), ['room', 'from', 'data'])
  })

  test('without client_id, from is the empty string', async (t) => {
    const client = await join(t, at.one, 'anon')
    await client.send('x')
    await until('the watcher saw it', () => envelopes('anon').length === 1)
    assert.deepEqual(JSON.parse(envelopes('anon')[0]), { room: 'anon', from: '', data: 'x' })
  })

  test('room and client names may be any UTF-8', async (t) => {
    const room = 'Zürich: "A&B" 50%'
    const client = await join(t, at.one, room, 'å"\\')
    await client.send('x')
    await client.waitFrames(1)
    await until('the watcher saw it', () => envelopes(room).length === 1)
    assert.deepEqual(JSON.parse(envelopes(room)[0]), { room, from: 'å"\\', data: 'x' })
  })

  test('a binary message that is UTF-8 travels and arrives as text', async (t) => {
    const [a, b] = [await join(t, at.one, 'bin8', 'a'), await join(t, at.two, 'bin8', 'b')]
    await a.send(Buffer.from('grüße'), { binary: true })
    for (const client of [a, b]) {
      await client.waitFrames(1)
      assert.deepEqual(client.frames, [{ data: Buffer.from('grüße'), binary: false }])
    }
    await until('the watcher saw it', () => envelopes('bin8').length === 1)
    assert.deepEqual(JSON.parse(envelopes('bin8')[0]), { room: 'bin8', from: 'a', data: 'grüße' })
  })

  test('a binary message that is not UTF-8 travels as base64 with "enc" and arrives as the same bytes', async (t) => {
    const [a, b] = [await join(t, at.one, 'bin64', 'a'), await join(t, at.two, 'bin64', 'b')]
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => 255 - i))
    await a.send(bytes)
    await until('the watcher saw it', () => envelopes('bin64').length === 1)
    assert.deepEqual(JSON.parse(envelopes('bin64')[0]), { room: 'bin64', from: 'a', data: bytes.toString('base64'), enc: 'base64' })
    for (const client of [a, b]) {
      await client.waitFrames(1)
      assert.deepEqual(client.frames, [{ data: bytes, binary: true }])
    }
  })

  test('an envelope from an outside publisher by redis-cli works', async (t) => {
    const members = [await join(t, at.one, 'outside', 'a'), await join(t, at.two, 'outside', 'b')]
    await at.redis.publish('room:outside', '{"room":"outside","from":"cron","data":"good \\u006dorning\\n\\ud83d\\ude00"}')
    await at.redis.publish('room:outside', ' { "data" : "spaced", "extra":{"data":"not this"}, "from":"x", "room":"outside" } ')
    await at.redis.publish('room:outside', '{"room":"outside","data":"no from"}')
    for (const member of members) {
      await member.waitFrames(3)
      assert.deepEqual(member.texts, ['good morning\n😀', 'spaced', 'no from'])
    }
  })

  test('an empty data is an empty text frame', async (t) => {
    const member = await join(t, at.one, 'void', 'a')
    await member.send('')
    await member.waitFrames(1)
    assert.deepEqual(member.frames, [{ data: Buffer.alloc(0), binary: false }])
  })

  test('a malformed envelope, or a data that is no string, is dropped and counted', async (t) => {
    const member = await join(t, at.one, 'broken', 'a')
    const before = await at.one.metrics()
    const bad = ['', 'plain', '{', '[]', '"text"', 'null', '42', '{"room":"broken","from":"x"}', '{"room":"broken","from":"x","data":1}',
      '{"room":"broken","from":"x","data":{"a":1}}', '{"room":"broken","from":"x","data":null}', '{"room":"broken","from":"x","data":"cut',
      '{"room":"broken","from":"x","data":"a"} tail', '{"room":"broken","from":"x","data":"!!!","enc":"base64"}']
    for (const envelope of bad) await at.pub.publish('room:broken', envelope)
    await at.pub.publish('room:broken', Buffer.from([0x7b, 0xff, 0xfe]))
    await nothingBut(member, 0, 'good', () => at.pub.publish('room:broken', '{"room":"broken","from":"x","data":"good"}'))
    await until(`some malformed counter rose by ${bad.length + 1}`, async () =>
      roseBy(before, await at.one.metrics(), /malformed|invalid|bad/i, bad.length + 1).length > 0)
  })

  test('order is kept: 500 messages from one client, seen alike by all', async (t) => {
    const [a, b, c] = [await join(t, at.one, 'order', 'a'), await join(t, at.one, 'order', 'b'), await join(t, at.two, 'order', 'c')]
    const sent = Array.from({ length: 500 }, (_, i) => String(i))
    await Promise.all(sent.map((text) => a.send(text)))
    for (const client of [a, b, c]) {
      await client.waitFrames(500)
      assert.deepEqual(client.texts, sent)
    }
  })

  test('exactly 1 MiB passes; one byte more closes with 1009', async (t) => {
    const [a, b] = [await join(t, at.one, 'big', 'a'), await join(t, at.two, 'big', 'b')]
    const text = 'x'.repeat(1 << 20)
    await a.send(text)
    await b.waitFrames(1, 20_000)
    assert.ok(b.frames[0].data.equals(Buffer.from(text)))
    a.socket.send(text + 'x')
    assert.equal((await a.waitClosed()).code, 1009)
    await nothingBut(b, 1, 'alive', () => b.send('alive'))
  })

  test('a missing or empty room is 400', async () => {
    for (const query of ['?client_id=x', '?room=', '?room=&client_id=x', `?room=${'x'.repeat(256)}`, '?room=%FF']) {
      assertError(await refused(at.one, query), 400)
    }
  })

  test('/metrics has the plain names rooms, clients and dropped_messages beside the prefixed ones', async (t) => {
    const before = await at.two.metrics()
    const clients = [await join(t, at.two, 'm1', 'a'), await join(t, at.two, 'm1', 'b'), await join(t, at.two, 'm2', 'c')]
    await until('2 rooms and 3 clients more', async () => {
      const now = await at.two.metrics()
      return now.value('rooms') === before.value('rooms') + 2 && now.value('clients') === before.value('clients') + 3
    })
    assert.ok(before.value('dropped_messages') >= 0)
    assert.ok(before.matching(/^fanout_/).length > 0)
    for (const client of clients) await client.close()
    await until('they are gone again', async () => {
      const now = await at.two.metrics()
      return now.value('rooms') === before.value('rooms') && now.value('clients') === before.value('clients')
    })
  })

  test('/healthz is 200 ok', async () => {
    const reply = await at.one.get('/healthz')
    assert.equal(reply.status, 200)
    assert.equal(reply.text.trim(), 'ok')
  })
})

describe('rooms without Redis', () => {
  test('/healthz is 503 "redis down" while Redis is gone and 200 when it is back', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    await redis.kill9()
    const down = await until('/healthz says 503', async () => {
      const reply = await server.get('/healthz')
      return reply.status === 503 && reply
    })
    assert.equal(down.text.trim(), 'redis down')
    assert.equal((await server.get('/health')).status, 200, 'alive all the same')
    await redis.restart()
    await until('/healthz says 200', async () => (await server.get('/healthz')).status === 200, { ms: 15_000 })
  })

  test('the embedded broker carries rooms too, and /healthz is ok', async (t) => {
    const server = await startServer(t)
    assert.equal((await server.get('/healthz')).text.trim(), 'ok')
    const [a, b] = [await connect(t, server, '?room=r&client_id=a'), await connect(t, server, '?room=r&client_id=b')]
    await a.send('hi')
    await a.send(Buffer.from([0xff, 0]))
    for (const client of [a, b]) {
      await client.waitFrames(2)
      assert.deepEqual(client.frames, [{ data: Buffer.from('hi'), binary: false }, { data: Buffer.from([0xff, 0]), binary: true }])
    }
  })
})
