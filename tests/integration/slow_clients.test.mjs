// Slow clients, contracts.md section 2 and design.md. Proves with sockets that stop reading:
// - a slow member's messages are dropped and counted, the others get all of theirs and never wait
// - drop_oldest keeps the newest, drop_newest the oldest; what arrives is in order, without a double
// - disconnect cuts the slow one off; conflate keeps the newest of each key
// - the books: published = delivered + dropped + queued for each connection, and in /metrics in total
// - one log line when a connection starts dropping, one when it has recovered
import assert from 'node:assert/strict'
import http from 'node:http'
import { describe } from 'node:test'
import { connect, startRedis, startServer, test, until } from '../support/harness.mjs'
import { OP, rawWs } from '../support/raw.mjs'

const SIZE = 48 * 1024
const body = (n) => `${String(n).padStart(8, '0')}${'.'.repeat(SIZE - 8)}`
const number = (payload) => Number(payload.subarray(0, 8).toString())

const listing = async (server, query = '') => (await server.get(`/api/v1/connections${query}`)).json().connections
const droppedOf = (row) => Object.values(row.dropped).reduce((a, b) => a + b, 0)

/** How far a fast client may be behind: its bound is the slow one's, and a busy machine lets it wait, too. */
const BEHIND_MAX = 2

/** Publishes `count` numbered messages of 48 KiB, one after the other on one connection, no faster than `fast` reads. */
async function flood(server, channel, from, count, { fast } = {}) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  try {
    for (let i = from; i < from + count; i++) {
      if (fast && i - from > BEHIND_MAX) await fast.waitFrames(i - from - BEHIND_MAX, 20_000)
      const reply = await server.post(`/api/v1/channels/${encodeURIComponent(channel)}`, Buffer.from(body(i)), { agent })
      assert.equal(reply.status, 200, reply.text)
    }
  } finally {
    agent.destroy()
  }
}

/** Reads everything a resumed raw socket has still to say, until `done` likes the numbers. */
async function drain(slow, done) {
  const numbers = []
  slow.socket.resume()
  await until('the slow one has read what is left', () => {
    slow.parse()
    while (slow.frames.length) {
      const frame = slow.frames.shift()
      if (frame.opcode === OP.TEXT) numbers.push(number(frame.payload))
    }
    return done(numbers)
  }, { ms: 20_000 })
  return numbers
}

async function slowAndFast(t, policy, { room = 'slow' } = {}) {
  const server = await startServer(t, { args: ['--namespace', policy] })
  const fast = await connect(t, server, `?room=${room}&client_id=fast`)
  const slow = await rawWs(t, server, `?room=${room}&client_id=slow`)
  slow.socket.pause()
  return { server, fast, slow, channel: `room:${room}` }
}

/** The row of the connection that dropped something. */
const slowRow = (server) => until('a connection has dropped messages',
  async () => (await listing(server, '?sort=dropped')).find((row) => droppedOf(row) > 0))

/** The same once all `total` messages have reached its shard: that of the fast one may be ahead. */
const settledRow = (server, total) => until(`the books of the slow one add up to ${total}`, async () => {
  const row = await slowRow(server)
  return row.delivered + droppedOf(row) + row.queued_messages === total && row
})

describe('slow clients', () => {
  for (const policy of ['drop_oldest', 'drop_newest']) {
    test(`${policy}: the fast get all, the slow one keeps the ${policy === 'drop_oldest' ? 'newest' : 'oldest'}, the books add up`, async (t) => {
      const { server, fast, slow, channel } = await slowAndFast(t, `room:policy=${policy},outbox_messages=64`)
      await flood(server, channel, 0, 400, { fast })
      await fast.waitFrames(400, 20_000)
      assert.deepEqual(fast.frames.map((f) => number(f.data)), Array.from({ length: 400 }, (_, i) => i))
      const row = await settledRow(server, 400)
      assert.ok(row.queued_messages <= 64 && row.queued_messages > 0, JSON.stringify(row))
      assert.ok(row.dropped.slow > 0, JSON.stringify(row))
      const metrics = await server.metrics()
      assert.ok(metrics.value('dropped_messages') >= droppedOf(row))

      const expected = 400 - droppedOf(row)
      const numbers = await drain(slow, (have) => have.length >= expected)
      assert.equal(numbers.length, expected)
      for (let i = 1; i < numbers.length; i++) assert.ok(numbers[i] > numbers[i - 1], `order at ${i}: ${numbers[i - 1]}, ${numbers[i]}`)
      assert.equal(numbers[0], 0, 'what the kernel had taken came first')
      if (policy === 'drop_oldest') assert.equal(numbers.at(-1), 399, 'the newest is there')
      else {
        // The kernel may take a little more of a paused socket later: then a newer one finds a place again.
        const hole = numbers.findIndex((n, i) => n !== i)
        assert.ok(hole === -1 || hole >= 16, `the oldest are there: the first hole is at ${hole}`)
      }

      await flood(server, channel, 400, 3)
      assert.deepEqual(await drain(slow, (have) => have.length >= 3), [400, 401, 402], 'it has recovered')
      await until('its books are closed', async () => {
        const after = (await listing(server)).find((r) => r.id === row.id)
        return after.queued_messages === 0 && after.delivered + droppedOf(after) === 403
      })
    })
  }

  test('a paused member over Redis drops, is counted, and the others never wait', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--namespace', 'room:outbox_messages=32'] })
    const pub = await redis.client(t)
    const fast = await Promise.all([1, 2, 3].map((i) => connect(t, server, `?room=r&client_id=f${i}`)))
    const slow = await rawWs(t, server, '?room=r&client_id=slow')
    slow.socket.pause()
    const before = (await server.metrics()).value('dropped_messages')
    let worst = 0
    for (let i = 0; i < 300; i++) {
      const started = performance.now()
      await pub.publish('room:r', JSON.stringify({ room: 'r', from: 'x', data: body(i) }))
      for (const client of fast) await client.waitFrames(i + 1)
      worst = Math.max(worst, performance.now() - started)
    }
    assert.ok(worst < 1500, `a fast member waited ${worst} ms for one message`)
    const row = await slowRow(server)
    assert.equal(row.delivered + droppedOf(row) + row.queued_messages, 300)
    await until('dropped_messages counts them', async () => (await server.metrics()).value('dropped_messages') === before + droppedOf(row))
  })

  test('disconnect: the slow one is cut off, the others get all', async (t) => {
    const { server, fast, slow, channel } = await slowAndFast(t, 'room:policy=disconnect,outbox_messages=64')
    await flood(server, channel, 0, 400, { fast })
    await fast.waitFrames(400, 20_000)
    await until('the listing no longer has it', async () => (await listing(server)).length === 1)
    slow.socket.resume()
    await until('the slow one is closed', () => slow.ended, { ms: 10_000 })
    const closes = slow.parse().filter((f) => f.opcode === OP.CLOSE)
    if (closes.length) assert.equal(closes[0].payload.readUInt16BE(), 1008)
  })

  for (const query of ['?room=told&client_id=slow', '?channel=room:told']) {
    test(`disconnect: ${query} is told 1008 behind whole frames, however full its queue`, async (t) => {
      const server = await startServer(t, { args: ['--namespace', 'room:policy=disconnect,outbox_messages=64'] })
      const slow = await rawWs(t, server, query)
      slow.socket.pause()
      let sent = 0
      while (!server.output.includes('conn.cut')) await flood(server, 'room:told', (sent += 8) - 8, 8)
      slow.socket.resume()
      await until('it is closed', () => slow.ended, { ms: 10_000 })
      const frames = slow.parse()
      const close = frames.at(-1)
      assert.equal(close?.opcode, OP.CLOSE)
      assert.equal(close.payload.readUInt16BE(), 1008)
      assert.match(close.payload.subarray(2).toString(), /slow/)
      const texts = frames.filter((f) => f.opcode === OP.TEXT && f.payload.length >= SIZE)
      assert.ok(texts.length > 0 && texts.length < sent, `${texts.length} of ${sent}`)
      assert.ok(!server.output.includes('conn.recovered'), server.output)
      const m = await until('the books are closed', async () => {
        const metrics = await server.metrics()
        const total = (pattern) => metrics.matching(pattern).reduce((sum, s) => sum + s.value, 0)
        const delivered = total(/^fanout_\w*delivered\w*_total\{/)
        return total(/^fanout_\w*accepted\w*_total\{/) === delivered + total(/^fanout_\w*dropped\w*_total\{/) && { delivered }
      })
      assert.equal(m.delivered, texts.length)
    })
  }

  test('conflate: of each key the newest is there, in the end', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'tick:policy=conflate,conflate_key=/k,outbox_messages=64'] })
    const slow = await rawWs(t, server, '?channel=tick:x')
    await slow.next() // The state notice.
    slow.socket.pause()
    const pad = 'x'.repeat(SIZE)
    for (let n = 0; n < 400; n++) await server.publishRaw('tick:x', JSON.stringify({ k: `key${n % 8}`, n, pad }))
    slow.socket.resume()
    const newest = {}
    await until('the last of each key has come', () => {
      slow.parse()
      while (slow.frames.length) {
        const frame = slow.frames.shift()
        if (frame.opcode !== OP.TEXT) continue
        const message = JSON.parse(frame.payload)
        if (message.data) newest[message.data.k] = message.data.n
      }
      return Object.values(newest).filter((n) => n >= 392).length === 8
    }, { ms: 20_000 })
  })

  test('a byte bound holds as well as a message bound', async (t) => {
    const { server, fast, channel } = await slowAndFast(t, 'room:outbox_messages=100000,outbox_bytes=262144')
    await flood(server, channel, 0, 300, { fast })
    await fast.waitFrames(300, 20_000)
    const row = await settledRow(server, 300)
    assert.ok(row.queued_bytes <= 262_144 + 2 * SIZE, JSON.stringify(row))
  })

  test('the log names who starts dropping, once, and who has recovered', async (t) => {
    const { server, slow, channel } = await slowAndFast(t, 'room:outbox_messages=16')
    await flood(server, channel, 0, 300)
    const row = await slowRow(server)
    const named = () => server.lines.filter((line) => line.includes(row.id) || (/:\d+$/.test(row.address) && line.includes(row.address)))
    await until('a line names it', () => named().some((line) => /drop|slow/i.test(line)))
    const lines = named().filter((line) => /level=warn|"level":"warn/.test(line))
    assert.equal(lines.length, 1, lines.join('\n'))
    await drain(slow, (have) => have.length >= 300 - droppedOf(row))
    await flood(server, channel, 300, 5)
    await until('a line says it has recovered', () => named().some((line) => /recover/i.test(line)))
    assert.ok(!server.output.includes('.'.repeat(50)), 'no payload in the log')
  })

  test('pings and closes reach a slow client past its queue', async (t) => {
    const { server, slow, channel } = await slowAndFast(t, 'room:outbox_messages=8')
    await flood(server, channel, 0, 200)
    const row = await slowRow(server)
    assert.equal((await server.delete(`/api/v1/connections/${row.id}`)).status, 204)
    slow.socket.resume()
    await until('it is closed with 1008', () => slow.parse().some((f) => f.opcode === OP.CLOSE && f.payload.readUInt16BE() === 1008), { ms: 10_000 })
  })

  test('the totals of /metrics keep the same identity', async (t) => {
    const { server, fast, channel } = await slowAndFast(t, 'room:outbox_messages=32')
    await flood(server, channel, 0, 200, { fast })
    await fast.waitFrames(200, 20_000)
    await until('accepted = delivered + dropped + queued', async () => {
      const m = await server.metrics()
      const total = (pattern) => m.matching(pattern).reduce((sum, s) => sum + s.value, 0)
      const accepted = total(/^fanout_\w*accepted\w*_total\{/)
      return accepted === 400 && accepted === total(/^fanout_\w*delivered\w*_total\{/) +
        total(/^fanout_\w*dropped\w*_total\{/) + total(/^fanout_\w*queued_messages\{/)
    })
  })
})
