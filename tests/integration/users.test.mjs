// Per-user events, contracts.md section 1. Proves, over a real Redis and real `ws` clients:
// - a PUBLISH on workflow:events:U arrives byte for byte, one text frame a message, at every socket of
//   U and at nobody else; two messages are never one frame; order is kept
// - names: test-user, bob@example.com, org_acme, 1 and 255 bytes of UTF-8, '+' and %2B, ':' inside
// - a payload that is not UTF-8 comes as a binary frame; empty, large and newline payloads as they are
// - missing, empty, too long, or ill-formed username: 400 with a JSON sentence
// - client text is accepted and ignored up to 512 bytes, then 1009
// - heartbeat: pings, silence closes with 1001, any frame counts as life
// - /health, /admin/stats, PORT, REDIS_HOST and REDIS_PORT as the contract names them
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { assertError, connect, freePort, nothingBut, refused, shared, sleep, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'
import { OP, rawWs } from '../support/raw.mjs'

const channel = (user) => `workflow:events:${user}`
const q = (user) => `?username=${encodeURIComponent(user)}`

describe('user events over Redis', () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    return { redis, server, pub: await redis.client(t) }
  })

  test('redis-cli PUBLISH arrives byte for byte at every socket of the user and nobody else', async (t) => {
    const mine = await Promise.all([1, 2, 3].map(() => connect(t, at.server, '?username=test-user')))
    const others = await Promise.all(['test-use', 'test-user2', 'Test-User', 'other'].map((u) => connect(t, at.server, q(u))))
    const payload = '{"type":"test","message":"hello from redis"}'
    await at.redis.publish('workflow:events:test-user', payload)
    for (const client of mine) {
      await client.waitFrames(1)
      assert.deepEqual(client.frames, [{ data: Buffer.from(payload), binary: false }])
    }
    for (const [i, client] of others.entries()) {
      const name = ['test-use', 'test-user2', 'Test-User', 'other'][i]
      await nothingBut(client, 0, 'marker', () => at.pub.publish(channel(name), 'marker'))
    }
    for (const client of mine) assert.equal(client.frames.length, 1)
  })

  for (const user of ['test-user', 'bob@example.com', 'org_acme', 'u', 'a b', 'a+b', 'a:b:c', 'a/b?c&d=e#f', '100%', 'å∫ç',
    '😀'.repeat(63) + 'abc', 'x'.repeat(255), '*', '[a-z]?', "it's \"quoted\" \\"]) {
    test(`the name ${user.length > 30 ? `of ${Buffer.byteLength(user)} bytes ${user.slice(0, 8)}…` : user}`, async (t) => {
      const client = await connect(t, at.server, q(user))
      await at.pub.publish(channel(user), `for ${user}`)
      await client.waitFrames(1)
      assert.deepEqual(client.texts, [`for ${user}`])
    })
  }

  test("'+' in the query is a space, as form encoding writes it", async (t) => {
    const client = await connect(t, at.server, '?' + new URLSearchParams({ username: 'Bob Smith' }))
    await at.pub.publish(channel('Bob Smith'), 'yes')
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['yes'])
  })

  test('percent encoding is decoded in either case, and of plain letters too', async (t) => {
    const client = await connect(t, at.server, '?username=%62ob%40ex%c3%A5mple')
    await at.pub.publish(channel('bob@exåmple'), 'yes')
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['yes'])
  })

  test('workspace and device beside username change nothing here', async (t) => {
    const client = await connect(t, at.server, '?username=carol&workspace=w1&device=phone')
    await at.pub.publish(channel('carol'), 'yes')
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['yes'])
  })

  test('two messages are two frames, and a thousand in one burst keep their order', async (t) => {
    const client = await connect(t, at.server, '?username=burst')
    const sent = Array.from({ length: 1000 }, (_, i) => `{"n":${i}}`)
    await Promise.all(sent.map((text) => at.pub.publish(channel('burst'), text)))
    await client.waitFrames(1000)
    assert.deepEqual(client.texts, sent)
  })

  test('payloads pass as they are: empty, spaces, newlines, NUL, quotes, 4-byte UTF-8, each frame length form', async (t) => {
    const client = await connect(t, at.server, '?username=bytes')
    const payloads = ['', ' ', ' {"a" : 1}\r\n\n', 'a\0b', '"', '\u{10ffff}\u{1f600}', '\ufeff', 'not json {', 'x'.repeat(125),
      'x'.repeat(126), 'x'.repeat(127), 'x'.repeat(65535), 'x'.repeat(65536), 'é'.repeat(500_000)]
    for (const [i, payload] of payloads.entries()) {
      await at.pub.publish(channel('bytes'), payload)
      await client.waitFrames(i + 1) // The last is near the outbox's bound: before it all others must have been read.
    }
    assert.deepEqual(client.frames, payloads.map((p) => ({ data: Buffer.from(p), binary: false })))
  })

  test('a payload that is not UTF-8 is a binary frame, byte for byte; the next text is text again', async (t) => {
    const client = await connect(t, at.server, '?username=binary')
    const payloads = [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x80], [0x61, 0xe2, 0x82],
      Array.from({ length: 256 }, (_, i) => i)].map((bytes) => Buffer.from(bytes))
    for (const payload of payloads) await at.pub.publish(channel('binary'), payload)
    await at.pub.publish(channel('binary'), 'text')
    await client.waitFrames(payloads.length + 1)
    assert.deepEqual(client.frames, [...payloads.map((data) => ({ data, binary: true })), { data: Buffer.from('text'), binary: false }])
  })

  test('what is not below workflow:events: goes to nobody', async (t) => {
    const client = await connect(t, at.server, '?username=strict')
    for (const wrong of ['workflow:event:strict', 'workflow:events', 'workflow:events:', 'xworkflow:events:strict', 'user:strict']) {
      await at.pub.publish(wrong, 'wrong')
    }
    await nothingBut(client, 0, 'marker', () => at.pub.publish(channel('strict'), 'marker'))
  })

  test('1000 distinct users each get only their own', async (t) => {
    const users = Array.from({ length: 1000 }, (_, i) => `user-${i}`)
    const clients = []
    for (let i = 0; i < users.length; i += 50) {
      clients.push(...await Promise.all(users.slice(i, i + 50).map((u) => connect(t, at.server, q(u)))))
    }
    for (const round of [1, 2]) await Promise.all(users.map((u) => at.pub.publish(channel(u), `${u} ${round}`)))
    for (const client of clients) await client.waitFrames(2)
    for (const [i, client] of clients.entries()) assert.deepEqual(client.texts, [`user-${i} 1`, `user-${i} 2`])
    const stats = (await at.server.get('/admin/stats')).json()
    assert.ok(stats.users >= 1000, JSON.stringify(stats))
    assert.ok(stats.connections >= 1000, JSON.stringify(stats))
  })

  test('a socket that came late gets what comes after, and one that left harms nobody', async (t) => {
    const first = await connect(t, at.server, '?username=late')
    await at.pub.publish(channel('late'), '1')
    await first.waitFrames(1)
    const second = await connect(t, at.server, '?username=late')
    await at.pub.publish(channel('late'), '2')
    await second.waitFrames(1)
    await first.close()
    await at.pub.publish(channel('late'), '3')
    await second.waitFrames(2)
    assert.deepEqual(first.texts, ['1', '2'])
    assert.deepEqual(second.texts, ['2', '3'])
  })

  test('client text and binary up to 512 bytes are accepted and ignored', async (t) => {
    const [talker, listener] = [await connect(t, at.server, '?username=talker'), await connect(t, at.server, '?username=talker')]
    for (const message of ['', 'hello', '{"subscribe":"x"}', 'x'.repeat(512), Buffer.alloc(512, 0xff)]) await talker.send(message)
    await nothingBut(talker, 0, 'still here', () => at.pub.publish(channel('talker'), 'still here'))
    await listener.waitFrames(1)
    assert.deepEqual(listener.texts, ['still here'])
  })

  test('more than 512 bytes from a client close with 1009', async (t) => {
    const client = await connect(t, at.server, '?username=loud')
    client.socket.send('x'.repeat(513))
    assert.equal((await client.waitClosed()).code, 1009)
    const fragments = await connect(t, at.server, '?username=loud')
    fragments.socket.send('x'.repeat(300), { fin: false })
    fragments.socket.send('x'.repeat(300), { fin: true })
    assert.equal((await fragments.waitClosed()).code, 1009, 'the limit counts the message, not the frame')
  })

  test('a missing or empty username, or one that is too long or not UTF-8, is 400 with a sentence', async () => {
    for (const query of ['', '?', '?username', '?username=', '?user=x', '?Username=x', `?username=${'x'.repeat(256)}`,
      `?username=${encodeURIComponent('é'.repeat(128))}`, '?username=%FF', '?username=%C3%28', '?username=%ED%A0%80', '?username=%zz', '?username=%4']) {
      assertError(await refused(at.server, query), 400)
    }
  })

  test('/health is 200 and its body is OK', async () => {
    const reply = await at.server.get('/health')
    assert.equal(reply.status, 200)
    assert.equal(reply.text, 'OK')
  })

  test('/admin/stats counts connections and users', async (t) => {
    const before = (await at.server.get('/admin/stats')).json()
    assert.ok(Number.isInteger(before.connections) && Number.isInteger(before.users), JSON.stringify(before))
    const clients = await Promise.all(['s1', 's1', 's2'].map((u) => connect(t, at.server, q(u))))
    await until('3 connections and 2 users more', async () => {
      const now = (await at.server.get('/admin/stats')).json()
      return now.connections === before.connections + 3 && now.users === before.users + 2
    })
    for (const client of clients) await client.close()
    await until('they are gone again', async () => {
      const now = (await at.server.get('/admin/stats')).json()
      return now.connections === before.connections && now.users === before.users
    })
  })
})

test('sent_bytes counts each byte that was written to a client, also in pieces', async (t) => {
  const server = await startServer(t, { args: ['--shards', '1', '--namespace', 'user:outbox_messages=10000,outbox_bytes=67108864'] })
  const sent = async () => (await server.metrics()).value('fanout_sent_bytes_total')
  const sockets = await Promise.all([1, 2, 3].map(() => rawWs(t, server, '?username=bytes')))
  const probe = async () => { const one = await sent(); return { value: one, cost: (await sent()) - one } }
  sockets[0].socket.pause()
  const sizes = sockets.map((s) => s.socket.bytesRead)
  const first = await probe()
  for (let i = 0; i < 200; i++) await server.publishRaw('user:bytes', 'x'.repeat(48 * 1024))
  sockets[0].socket.resume()
  const frames = 200 * (48 * 1024 + 4)
  // On a slow machine a ping may be among them.
  await until('all has come', () => sockets.every((s, i) => s.socket.bytesRead - sizes[i] >= frames), { ms: 20_000 * SLOW })
  const replies = (await server.metrics()).value('fanout_sent_bytes_total') - first.value - 3 * frames
  // The answers to 200 publications and a few pages of metrics, none of which is near one frame of 48 KiB each.
  assert.ok(replies > 0 && replies < 200 * 1024 + 20 * first.cost, `${replies} bytes beside the frames`)
})

describe('heartbeat', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { args: ['--ws-ping-interval', '200ms', '--idle-timeout', '600ms'] }) }))

  test('the server pings again and again', async (t) => {
    const client = await connect(t, at.server, '?username=pinged')
    await until('four pings have come', () => client.pings >= 4)
    assert.equal(client.closed, null)
  })

  test('who is silent is closed at the idle time, not a ping interval later', async (t) => {
    const server = await startServer(t, { args: ['--ws-ping-interval', '4s', '--idle-timeout', '5s'] })
    const late = []
    await Promise.all(Array.from({ length: 10 }, async () => {
      const silent = await rawWs(t, server, '?username=silent')
      const since = performance.now()
      const close = await until('it is closed', () => silent.parse().find((f) => f.opcode === OP.CLOSE), { ms: 15_000 })
      assert.equal(close.payload.readUInt16BE(), 1001)
      late.push(performance.now() - since - 5000)
    }))
    assert.ok(late.every((ms) => ms > -200 && ms < 2000), late.join(' '))
  })

  test('a client that answers pings stays past the idle time', async (t) => {
    const client = await connect(t, at.server, '?username=alive')
    await sleep(1500)
    assert.equal(client.closed, null)
    await at.server.publish('user:alive', 'here')
    await client.waitFrames(1)
  })

  test('a client that is silent is closed with 1001', async (t) => {
    const client = await connect(t, at.server, '?username=silent', { autoPong: false })
    const started = performance.now()
    assert.equal((await client.waitClosed(4000)).code, 1001)
    assert.ok(performance.now() - started >= 450, 'not before its time')
  })

  test('any frame from the client counts as life', async (t) => {
    const client = await connect(t, at.server, '?username=chatty', { autoPong: false })
    for (let i = 0; i < 15; i++) {
      await client.send('.')
      await sleep(100)
      assert.equal(client.closed, null)
    }
    client.socket.pong('unasked')
    assert.equal((await client.waitClosed(4000)).code, 1001)
  })

  test('what the server sends is no sign of life of the client', async (t) => {
    const client = await connect(t, at.server, '?username=deaf', { autoPong: false })
    const timer = setInterval(() => at.server.publish('user:deaf', 1).catch(() => {}), 100)
    t.after(() => clearInterval(timer))
    assert.equal((await client.waitClosed(4000)).code, 1001)
  })
})

describe('heartbeat as it is set by default', () => {
  test('no ping comes in the first 3 s: 25 s is the interval', async (t) => {
    const server = await startServer(t)
    const client = await connect(t, server, '?username=quiet')
    await sleep(3000)
    assert.equal(client.pings, 0)
  })
})

describe('where it listens', () => {
  test('PORT names the port', async (t) => {
    const port = await freePort()
    const server = await startServer(t, { listen: false, port, env: { PORT: String(port) } })
    assert.equal((await server.get('/health')).text, 'OK')
  })

  test('ADDR beats PORT, and takes the form :port', async (t) => {
    const port = await freePort()
    const server = await startServer(t, { listen: false, port, env: { PORT: String(await freePort()), ADDR: `:${port}` } })
    assert.equal((await server.get('/health')).text, 'OK')
  })

  test('REDIS_ADDR as host:port names the broker too', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { env: { REDIS_ADDR: `127.0.0.1:${redis.port}` } })
    const client = await connect(t, server, '?username=addr')
    await redis.publish('workflow:events:addr', 'yes')
    await client.waitFrames(1)
  })

  test('without any REDIS_ name it starts embedded, and says that Redis is not heard and how to change it', async (t) => {
    const server = await startServer(t)
    const line = await server.waitLine(/embedded/i)
    assert.match(server.output, /redis/i, line)
    assert.match(server.output, /REDIS_HOST|REDIS_ADDR|--redis-/, line)
    const client = await connect(t, server, '?username=solo')
    await server.publish('user:solo', { hello: 1 })
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['{"hello":1}'])
  })

  test('with Redis the start line names it', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    await server.waitLine(new RegExp(`redis.*${redis.port}`, 'i'))
    assert.doesNotMatch(server.output, /broker=embedded/i)
  })
})
