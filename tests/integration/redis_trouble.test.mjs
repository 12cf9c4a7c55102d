// Redis in trouble, the "must show" 6. Proves:
// - kill -9, CLIENT KILL, SIGSTOP: /ready says 503 within 3 s, /health stays 200, clients stay connected
// - back again: /ready 200 and delivery without anyone's help; /metrics shows the outage and the path's age
// - a server started before its Redis waits for it; a Redis that dies under load harms nothing
// - SIGSTOP for 5 s (20 s in the long tier); several outages in a row; a peer that is no Redis at all
// - envelope subscribers learn of the break by a notice, `reset`, and a new epoch
import assert from 'node:assert/strict'
import net from 'node:net'
import { describe } from 'node:test'
import { connect, freePort, LONG, readyBecomes, sleep, startRedis, startServer, test, until } from '../support/harness.mjs'

const OUTAGE = /outage|lost|disconnect|reconnect|down/i

/** Publishes numbered events until one has arrived; delivery is back. */
async function deliveryResumes(client, publish, ms = 15_000) {
  const before = client.frames.length
  let n = 0
  await until('delivery has resumed', async () => {
    try { await publish(`resume-${n++}`) } catch { /* Redis may still be away */ }
    return client.frames.slice(before).some((f) => /resume-/.test(f.data.toString()))
  }, { ms, every: 100 })
}

async function house(t, args = []) {
  const redis = await startRedis(t)
  const server = await startServer(t, { redis, args })
  const client = await connect(t, server, '?username=u')
  const publish = (text) => redis.publish('workflow:events:u', text)
  await publish('before')
  await client.waitFrames(1)
  return { redis, server, client, publish }
}

async function outageCounted(server, before) {
  await until('/metrics shows the outage', async () => {
    const now = await server.metrics()
    return now.matching(OUTAGE).some((s) => /^fanout_.*_total$/.test(s.name) &&
      s.value > (before.samples.find((o) => o.name === s.name && JSON.stringify(o.labels) === JSON.stringify(s.labels))?.value ?? 0))
  })
}

describe('Redis in trouble', () => {
  test('kill -9: 503 within 3 s, back by itself after a restart, the outage is counted', async (t) => {
    const { redis, server, client, publish } = await house(t)
    const before = await server.metrics()
    await redis.kill9()
    await readyBecomes(server, 503, 3000)
    assert.equal((await server.get('/health')).status, 200)
    assert.equal(client.closed, null)
    await redis.restart()
    await readyBecomes(server, 200, 15_000)
    await deliveryResumes(client, publish, 3000)
    await outageCounted(server, before)
    assert.equal(client.closed, null, 'the client was connected all along')
  })

  test('after /ready is 200 again, not one event is missed', async (t) => {
    const { redis, server, client, publish } = await house(t)
    for (let round = 0; round < 3; round++) {
      await redis.kill9()
      await readyBecomes(server, 503, 3000)
      await redis.restart()
      await readyBecomes(server, 200, 15_000)
      const from = client.frames.length
      for (let i = 0; i < 20; i++) await publish(`${round}-${i}`)
      await client.waitFrames(from + 20)
      assert.deepEqual(client.texts.slice(from), Array.from({ length: 20 }, (_, i) => `${round}-${i}`))
    }
  })

  test('CLIENT KILL TYPE pubsub: noticed, resubscribed, counted', async (t) => {
    const { redis, server, client, publish } = await house(t)
    const before = await server.metrics()
    assert.ok(Number(await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')) >= 1)
    await outageCounted(server, before)
    await readyBecomes(server, 200, 15_000)
    await deliveryResumes(client, publish, 3000)
  })

  test('CLIENT KILL TYPE normal: the command connection comes back, too', async (t) => {
    const { redis, server, client } = await house(t)
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until('publishing by HTTP works again', async () => (await server.post('/api/v1/publish', { channel: 'user:u', data: 'resume-http' })).status === 200, { ms: 15_000 })
    await until('it arrives', () => client.frames.some((f) => f.data.toString().includes('resume-http')))
    await readyBecomes(server, 200, 15_000)
  })

  test(`SIGSTOP for ${LONG ? 20 : 5} s: 503 within 3 s though the socket stays open, then all by itself`, async (t) => {
    const { redis, server, client, publish } = await house(t)
    redis.pause()
    await readyBecomes(server, 503, 3000)
    const healthz = await server.get('/healthz')
    assert.deepEqual([healthz.status, healthz.text.trim()], [503, 'redis down'])
    await until('the age of the delivery path grows', async () => (await server.metrics()).matching(/delivery_path_age_seconds/).some((s) => s.value >= 2), { ms: 10_000 })
    await sleep(LONG ? 17_000 : 2000)
    redis.resume()
    await readyBecomes(server, 200, 15_000)
    await deliveryResumes(client, publish, 5000)
    await until('the age is small again', async () => (await server.metrics()).matching(/delivery_path_age_seconds/).every((s) => s.value < 3), { ms: 10_000 })
    assert.equal(client.closed, null)
  })

  test('a subscription that Redis lost in silence is noticed', async (t) => {
    // No command takes a subscription from another client; a proxy that swallows one direction does.
    const redis = await startRedis(t)
    let swallow = false
    const port = await freePort()
    const proxy = net.createServer((down) => {
      const up = net.connect(redis.port, '127.0.0.1')
      for (const socket of [down, up]) socket.on('error', () => {})
      down.pipe(up)
      up.on('data', (part) => { if (!swallow) down.write(part) })
      down.on('close', () => up.destroy())
      up.on('close', () => down.destroy())
      t.after(() => { down.destroy(); up.destroy() })
    }).listen(port, '127.0.0.1')
    t.after(() => proxy.close())
    const server = await startServer(t, { redis: { port } })
    const client = await connect(t, server, '?username=u')
    swallow = true
    await readyBecomes(server, 503, 3000)
    swallow = false
    await readyBecomes(server, 200, 20_000)
    await deliveryResumes(client, (text) => redis.publish('workflow:events:u', text), 5000)
  })

  test('a server started before its Redis waits for it', async (t) => {
    const port = await freePort()
    const server = await startServer(t, { redis: { port }, ready: false })
    assert.equal((await server.get('/ready')).status, 503)
    const client = await connect(t, server, '?username=u')
    const redis = await startRedis(t, { port })
    await readyBecomes(server, 200, 15_000)
    await deliveryResumes(client, (text) => redis.publish('workflow:events:u', text), 3000)
  })

  test('killed and restarted under load: no crash, and what comes is in order without a double', async (t) => {
    const { redis, server, client } = await house(t)
    let n = 0
    let stop = false
    const load = (async () => {
      while (!stop) {
        try { await redis.publish('workflow:events:u', `n${n++}`) } catch { await sleep(20) }
      }
    })()
    for (let round = 0; round < (LONG ? 10 : 3); round++) {
      const at = n
      await until('some load', () => n > at + 20)
      await redis.kill9()
      await readyBecomes(server, 503, 3000)
      await redis.restart()
      await readyBecomes(server, 200, 15_000)
    }
    stop = true
    await load
    const numbers = client.texts.filter((text) => text[0] === 'n').map((text) => Number(text.slice(1)))
    for (let i = 1; i < numbers.length; i++) assert.ok(numbers[i] > numbers[i - 1], `${numbers[i - 1]} then ${numbers[i]}`)
    assert.ok(numbers.length > 20)
  })

  test('a room client that speaks while Redis is away does not bring anything down', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    const client = await connect(t, server, '?room=r&client_id=c')
    await redis.kill9()
    await readyBecomes(server, 503, 3000)
    for (let i = 0; i < 100; i++) await client.send(`lost ${i}`).catch(() => {})
    await redis.restart()
    await readyBecomes(server, 200, 15_000)
    const again = client.closed ? await connect(t, server, '?room=r&client_id=c') : client
    await until('the room carries again', async () => { await again.send('resume-room'); return again.frames.some((f) => f.data.toString() === 'resume-room') }, { ms: 10_000, every: 100 })
  })

  test('envelope subscribers are told reset; so is a cursor from before the outage', async (t) => {
    const { redis, server, publish } = await house(t)
    const envelope = await connect(t, server, '?channel=user:u')
    await publish('{"n":1}')
    await envelope.waitFrames(2)
    const old = envelope.json[1].cursor
    await redis.kill9()
    await readyBecomes(server, 503, 3000)
    await redis.restart()
    await readyBecomes(server, 200, 15_000)
    await until('a notice says that something may be missing', () => envelope.json.some((m) => m.state === 'reset' && m.channel === 'user:u'))
    await publish('{"n":2}')
    await until('the next event has come', () => envelope.json.some((m) => m.data?.n === 2))
    assert.notEqual(envelope.json.find((m) => m.data?.n === 2).cursor.split(':')[0], old.split(':')[0], 'a new epoch')
    const back = await connect(t, server, `?channel=user:u&since=${old}`)
    await back.waitFrames(1)
    assert.equal(back.json[0].state, 'reset')
  })

  test('a peer that is no Redis: nonsense, silence, endless lines; no crash, bounded memory', async (t) => {
    for (const [name, speak] of [
      ['HTTP', (s) => s.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
      ['nothing', () => {}],
      ['a close at once', (s) => s.destroy()],
      ['an endless line', (s) => { const timer = setInterval(() => s.writable && s.write('+' + 'x'.repeat(65_536)), 5); s.on('close', () => clearInterval(timer)) }],
      ['a huge length', (s) => s.write('$2147483647\r\nabc*2147483647\r\n')],
      ['deep nesting', (s) => s.write('*1\r\n'.repeat(100_000))],
      ['errors', (s) => s.on('data', () => s.write('-ERR no\r\n-ERR no\r\n'))]
    ]) {
      const port = await freePort()
      const peer = net.createServer((socket) => { socket.on('error', () => {}); socket.resume(); speak(socket); t.after(() => socket.destroy()) }).listen(port, '127.0.0.1')
      t.after(() => peer.close())
      const server = await startServer(t, { redis: { port }, ready: false })
      await sleep(700)
      assert.equal(server.exit, null, name)
      assert.equal((await server.get('/ready')).status, 503, name)
      await server.stop()
    }
  })
})
