// At the file-descriptor limit, issue 2 "rt". Proves, under prlimit --nofile=128:
// - a further client gets 503 and a close, an upgrade as well; it is counted
// - the server does not spin while connections wait, keeps serving those it has, and stays clean
// - a place that is given back is taken again; a crowd at the door, many times over, harms nothing
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { connect, refused, sleep, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'
import { rawConnect } from '../support/raw.mjs'
import { roseBy } from '../support/prometheus.mjs'

async function fill(t, server) {
  const clients = []
  for (let i = 0; i < 128; i++) {
    try { clients.push(await connect(t, server, `?username=u${i % 4}`, { handshakeTimeout: 3000 * SLOW })) } catch { break }
  }
  assert.ok(clients.length >= 16 && clients.length < 128, `${clients.length} clients got in under 128 descriptors`)
  return clients
}

describe('at the descriptor limit', () => {
  test('503 for the next, no spinning, the others are served, a free place is taken again', async (t) => {
    const server = await startServer(t, { prefix: ['prlimit', '--nofile=128:128'] })
    const clients = await fill(t, server)
    const next = rawConnect(t, server)
    next.write('GET /admin/stats HTTP/1.1\r\nHost: x\r\n\r\n')
    assert.match(await next.waitEnd(), /^HTTP\/1\.1 503 /)
    const upgrade = await refused(server, '?username=late')
    assert.equal(upgrade.status, 503)

    const waiting = Array.from({ length: 40 }, () => rawConnect(t, server))
    await sleep(300)
    const before = server.cpuMs()
    await sleep(2000)
    const used = server.cpuMs() - before
    assert.ok(used < 400, `${used} ms of CPU in 2 s of waiting`)
    for (const socket of waiting) socket.socket.destroy()

    for (const client of clients) assert.equal(client.closed, null)
    for (const client of clients.slice(-5)) await client.close()
    const again = await until('a free place is taken', async () => { try { return await connect(t, server, '?username=u0') } catch { return null } })
    await server.publish('user:u0', 'to all that are left')
    await again.waitFrames(1)
    await clients[0].waitFrames(1)
  })

  test('refusals are counted', async (t) => {
    const server = await startServer(t, { prefix: ['prlimit', '--nofile=128:128'] })
    const kept = rawConnect(t, server) // Holds one connection for the scrapes.
    const scrape = async () => {
      kept.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
      const { parseMetrics } = await import('../support/prometheus.mjs')
      return parseMetrics((await kept.response()).text)
    }
    await scrape()
    await fill(t, server)
    const before = await scrape()
    for (let i = 0; i < 10; i++) {
      const late = rawConnect(t, server)
      late.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await late.waitEnd()
    }
    await until('ten refusals', async () => roseBy(before, await scrape(), /refused|rejected|limit/i, 10).length > 0)
  })

  test('2000 knocks at the door of a full server, with Redis on: alive, clean, still delivering', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, prefix: ['prlimit', '--nofile=128:128'] })
    const clients = await fill(t, server)
    for (let round = 0; round < 20; round++) {
      const crowd = Array.from({ length: 100 }, () => rawConnect(t, server))
      for (const socket of crowd) socket.write('GET /ws?username=x HTTP/1.1\r\n')
      await sleep(20)
      for (const socket of crowd) socket.socket.destroy()
    }
    await redis.publish('workflow:events:u0', 'still')
    await clients[0].waitFrames(1)
    await redis.restart()
    await until('Redis is reached again though every descriptor is taken', async () => {
      await redis.publish('workflow:events:u1', 'again')
      return clients[1].frames.length > 0
    }, { ms: 15_000, every: 100 })
  })
})
