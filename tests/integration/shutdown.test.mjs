// Leaving, contracts.md section 2 "shutdown" and wire.md "Close codes". Proves:
// - SIGTERM: everything taken is delivered, then close 1012 with reason retry_ms=N, then exit 0
// - /ready never says 200 again, new connections are refused; --drain-timeout bounds it all
// - clients that never read do not hold the exit past the time-out; a second signal exits at once
// - with Redis: events published before the signal arrive; the exit is clean with Redis gone, too
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { connect, LONG, sleep, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'
import { rawConnect, rawWs } from '../support/raw.mjs'

const leave = async (server, ms = 20_000 * SLOW) => {
  const started = performance.now()
  server.signal('SIGTERM')
  const exit = await server.gone(ms)
  server.checkOutput()
  return { ...exit, ms: performance.now() - started }
}

describe('SIGTERM', () => {
  test('queued events are delivered, every client gets 1012 with retry_ms=N, exit 0', async (t) => {
    const server = await startServer(t)
    const clients = await Promise.all(Array.from({ length: 50 }, (_, i) => connect(t, server, `?room=all&client_id=${i}`)))
    const payload = 'x'.repeat(4096)
    await Promise.all(Array.from({ length: 200 }, (_, i) => server.publishRaw('room:all', `${i} ${payload}`)))
    const exit = await leave(server)
    assert.deepEqual([exit.code, exit.signal], [0, null])
    for (const client of clients) {
      assert.equal((await client.waitClosed()).code, 1012)
      assert.match(client.closed.reason, /^retry_ms=\d+$/)
      assert.equal(client.frames.length, 200)
    }
    assert.ok(new Set(clients.map((c) => c.closed.reason)).size > 1, 'the return of the clients is spread')
  })

  test('a backlog for a client that reads slowly is flushed before its close frame', async (t) => {
    const server = await startServer(t, { args: ['--drain-timeout', '10s'] })
    const slow = await rawWs(t, server, '?username=backlog')
    slow.socket.pause()
    for (let i = 0; i < 200; i++) await server.publishRaw('user:backlog', `${i} ${'x'.repeat(40_000)}`)
    const { row, dropped } = await until('all have reached its shard', async () => {
      const [row] = (await server.get('/api/v1/connections')).json().connections
      const dropped = Object.values(row.dropped).reduce((a, b) => a + b, 0)
      return row.delivered + dropped + row.queued_messages === 200 && { row, dropped }
    })
    assert.ok(row.queued_messages > 0, 'some are queued in the server')
    const leaving = leave(server)
    slow.socket.resume()
    assert.equal(await until('1012', () => {
      const close = slow.parse().find((f) => f.opcode === 8)
      return close?.payload.readUInt16BE()
    }, { ms: 10_000 }), 1012)
    assert.equal(slow.frames.filter((f) => f.opcode === 1).length, 200 - dropped)
    slow.socket.end()
    assert.equal((await leaving).code, 0)
  })

  test('/ready never says 200 again and nobody new gets in', async (t) => {
    const server = await startServer(t, { args: ['--drain-timeout', '3s'] })
    const slow = await rawWs(t, server, '?username=holds')
    slow.socket.pause()
    for (let i = 0; i < 200; i++) await server.publishRaw('user:holds', 'x'.repeat(40_000))
    const kept = rawConnect(t, server)
    kept.write('GET /ready HTTP/1.1\r\nHost: x\r\n\r\n')
    assert.equal((await kept.response()).status, 200)
    server.signal('SIGTERM')
    await until('new connections are refused, /ready among them', async () => {
      try { return !(await server.get('/ready', { ms: 500 })) } catch (error) { return error.code === 'ECONNREFUSED' }
    })
    for (let i = 0; i < 3; i++) {
      await assert.rejects(connect(t, server, '?username=late', { handshakeTimeout: 1000 }))
    }
    kept.write('GET /ready HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('the kept connection says 503 or is closed', () => kept.ended || /^HTTP\/1\.1 503/.test(kept.text))
    assert.equal((await server.gone()).code, 0)
  })

  test('--drain-timeout bounds it though a client never reads', async (t) => {
    const server = await startServer(t, { args: ['--drain-timeout', '1s'] })
    const stuck = await rawWs(t, server, '?username=stuck')
    stuck.socket.pause()
    for (let i = 0; i < 300; i++) await server.publishRaw('user:stuck', 'x'.repeat(40_000))
    const exit = await leave(server)
    assert.equal(exit.code, 0)
    assert.ok(exit.ms < 1000 + 3000 * SLOW, `took ${exit.ms} ms`)
  })

  test('a second signal exits at once', async (t) => {
    const server = await startServer(t, { args: ['--drain-timeout', '60s'] })
    server.expectCode = null
    const stuck = await rawWs(t, server, '?username=stuck')
    stuck.socket.pause()
    for (let i = 0; i < 300; i++) await server.publishRaw('user:stuck', 'x'.repeat(40_000))
    server.signal('SIGTERM')
    await until('it has begun to drain', async () => {
      try { return (await server.get('/ready', { ms: 500 })).status !== 200 } catch { return true }
    })
    assert.equal(server.exit, null)
    await sleep(600)
    const started = performance.now()
    server.signal('SIGTERM')
    await server.gone(3000 * SLOW)
    assert.ok(performance.now() - started < 2000 * SLOW)
  })

  // `timeout` tells the child and then its group; so does many a supervisor.
  test('one signal that comes twice is one', async (t) => {
    const server = await startServer(t)
    const client = await connect(t, server, '?username=told')
    server.signal('SIGTERM')
    server.signal('SIGINT')
    server.signal('SIGTERM')
    assert.equal((await client.waitClosed(10_000)).code, 1012)
    assert.equal((await server.gone()).code, 0)
  })

  test('SIGINT drains like SIGTERM', async (t) => {
    const server = await startServer(t)
    const client = await connect(t, server, '?username=int')
    server.signal('SIGINT')
    assert.equal((await client.waitClosed(10_000)).code, 1012)
    assert.equal((await server.gone()).code, 0)
  })

  test('a server nobody uses leaves at once', async (t) => {
    const server = await startServer(t, { args: ['--drain-timeout', '30s'] })
    const exit = await leave(server)
    assert.equal(exit.code, 0)
    assert.ok(exit.ms < 3000 * SLOW, `took ${exit.ms} ms`)
  })

  test('over Redis: what was published before the signal arrives', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    const pub = await redis.client(t)
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(t, server, '?username=last')))
    await Promise.all(Array.from({ length: 500 }, (_, i) => pub.publish('workflow:events:last', String(i))))
    await clients[0].waitFrames(1)
    await until('the server has read them all', async () => clients[0].frames.length === 500 || clients[0].closed)
    const exit = await leave(server)
    assert.equal(exit.code, 0)
    for (const client of clients) {
      assert.equal((await client.waitClosed()).code, 1012)
      assert.equal(client.frames.length, 500)
    }
  })

  test('with Redis gone it leaves just as well', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    const client = await connect(t, server, '?username=x')
    await redis.kill9()
    assert.equal((await leave(server)).code, 0)
    assert.equal((await client.waitClosed()).code, 1012)
  })

  test('a socket that still waits for its 101 is told 503', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mode', 'exact', '--redis-canary-interval', '10s'] })
    redis.pause() // It confirms no subscription any more.
    const waiting = rawConnect(t, server)
    waiting.write('GET /ws?username=early HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
    await new Promise((done) => setTimeout(done, 300))
    assert.equal(waiting.text, '')
    const leaving = leave(server)
    const reply = await waiting.response()
    assert.equal(reply.status, 503)
    assert.equal(JSON.parse(reply.body).error.code, 'draining')
    assert.equal(reply.headers['retry-after'], '1')
    await waiting.waitEnd()
    waiting.socket.destroy()
    assert.equal((await leaving).code, 0)
  })

  const count = LONG ? SLOW === 1 ? 10_000 : 2000 : 300
  test(`${count} clients under load all get 1012`, { timeout: 240_000 }, async (t) => {
    const server = await startServer(t, { args: ['--drain-timeout', '8s'] })
    const clients = []
    for (let i = 0; i < count; i += 50) {
      clients.push(...await Promise.all(Array.from({ length: 50 }, (_, k) => connect(t, server, `?room=load&client_id=${i + k}`))))
    }
    let taken = 0
    let publishing = true
    const publisher = (async () => {
      while (publishing) {
        try { await server.publishRaw('room:load', String(taken)); taken++ } catch { return }
        // All of them read in this one process: more than they read would be dropped, as it should.
        if (LONG && taken > 5) await clients[0].waitFrames(taken - 5, 60_000).catch(() => {})
      }
    })()
    await clients[0].waitFrames(20, 60_000)
    const exit = await leave(server)
    publishing = false
    await publisher
    assert.equal(exit.code, 0)
    for (const client of clients) {
      assert.equal((await client.waitClosed(10_000)).code, 1012)
      assert.ok(client.frames.length >= taken, `${client.frames.length} of ${taken}`)
      assert.deepEqual(client.texts, Array.from({ length: client.frames.length }, (_, i) => String(i)))
    }
  })
})
