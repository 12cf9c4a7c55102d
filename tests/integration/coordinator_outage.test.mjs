// The stores of the coordinator in trouble, and coordinators that stand still; docs/workflows.md "What happens when". Proves:
// - Redis full (maxmemory, noeviction): new runs are 503 store_full, those under way wait and go on when there is room
// - Redis killed with -9 and restarted with AOF, paused by CLIENT PAUSE, stopped: /ready 503 with a sentence, questions 503,
//   and afterwards every run ends, each event published once and in order
// - the embedded store full: 503 store_full, a sentence in /ready or the metrics, and room again after retention
// - a coordinator stopped for longer than its lease while another takes over, and then woken up: every event once
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe } from 'node:test'
import { assertError, readyBecomes, sleep, SLOW, startRedis, startServer, tempDir, test, until } from '../support/harness.mjs'

const put = (server, tag, body) => server.request('PUT', `/api/v1/workflows/${tag}`, { body })
const events = async (server, id) => (await server.get(`/api/v1/runs/${id}/events`)).json()
const over = (server, id) => until(`run ${id} is over`, async () => {
  const got = await events(server, id)
  return got.status && got.status !== 'running' && got
}, { ms: 40_000 * SLOW, every: 50 })
const ask = (server, tag, inputs = {}) => server.post('/api/v1/runs', { tag, inputs }, { headers: { 'X-User-ID': 'u' } })
async function start(server, tag, inputs) {
  const reply = await ask(server, tag, inputs)
  assert.equal(reply.status, 201, reply.text)
  return reply.json().run_id
}
const chain = (...nodes) => ({
  nodes: nodes.map(([type, config = {}], i) => ({ id: `n${i}`, type, config })),
  edges: nodes.slice(1).map((_, i) => ({ from: `n${i}`, to: `n${i + 1}` })),
})
const SLOWLY = chain(['transform'], ['delay', { ms: 300 }], ['transform'], ['delay', { ms: 300 }], ['transform'])

/** Everything that is published, by run. It comes back when Redis does. */
async function listen(t, redis) {
  const heard = new Map()
  const attach = async () => {
    const client = await redis.client(t)
    await client.pSubscribe('workflow:events:*', (message) => {
      const id = JSON.parse(message).run_id
      if (!heard.has(id)) heard.set(id, [])
      heard.get(id).push(message)
    })
  }
  await attach()
  return { heard, attach }
}
function checkEvents(list, id) {
  assert.equal(list[0].type, 'workflow_started', id)
  assert.equal(list.at(-1).type, 'workflow_completed', JSON.stringify(list))
  assert.equal(list.at(-1).counter, 0)
  assert.equal(new Set(list.map(({ type, node_id: node, attempt }) => `${type} ${node} ${attempt}`)).size, list.length, JSON.stringify(list))
  assert.equal(list.length, 2 + 2 * 5, JSON.stringify(list))
}
/** All of them end, and what was published is what is stored. */
async function checkAll(server, ids, heard) {
  for (const id of ids) {
    const { events: list } = await over(server, id)
    checkEvents(list, id)
    await until(`all of ${id} is heard`, () => (heard.get(id)?.length ?? 0) >= list.length)
    assert.deepEqual(heard.get(id).map((text) => JSON.parse(text)), list, `run ${id}: published once and in order`)
  }
}
async function notReady(server) {
  const reply = await until('/ready is 503', async () => {
    const got = await server.get('/ready')
    return got.status === 503 && got
  }, { ms: 20_000 * SLOW, every: 50 })
  assert.match(reply.text, /^not ready: .{8,}/)
  return reply.text
}
async function crowd(server, count) {
  const ids = []
  for (let i = 0; i < count; i++) ids.push(await start(server, 'slowly', { i }))
  return ids
}

describe('Redis is full', () => {
  test('new runs are 503 store_full, those under way wait, and go on when there is room', async (t) => {
    const redis = await startRedis(t)
    const coordinator = await startServer(t, { role: 'coordinator', redis })
    const { heard } = await listen(t, redis)
    assert.equal((await put(coordinator, 'slowly', SLOWLY)).status, 201)
    const ids = await crowd(coordinator, 20)
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1mb')
    assertError(await ask(coordinator, 'slowly'), 503, 'store_full')
    assertError(await put(coordinator, 'other', SLOWLY), 503, 'store_full')
    assertError(await coordinator.post(`/api/v1/runs/${ids[0]}/cancel`, '', { headers: { 'X-User-ID': 'u' } }), 503, 'store_full')
    await sleep(2500) // Longer than all of their delays.
    assert.equal((await coordinator.get(`/api/v1/runs/${ids[0]}`)).json().status, 'running', 'what is there can be looked at')
    assert.equal((await coordinator.get('/health')).status, 200)
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0')
    await checkAll(coordinator, ids, heard)
    assert.equal((await over(coordinator, await start(coordinator, 'slowly'))).status, 'completed')
    assert.equal(await redis.cli('XLEN', 'wf.dead'), '0')
    assert.equal(await redis.cli('XLEN', 'wf.tasks.transform'), '0')
  })
})

describe('Redis is away', () => {
  const house = async (t, args = []) => {
    const redis = await startRedis(t, { args })
    const coordinator = await startServer(t, { role: 'coordinator', redis })
    assert.equal((await put(coordinator, 'slowly', SLOWLY)).status, 201)
    return { redis, coordinator, ...await listen(t, redis) }
  }

  test('killed with -9 and back with its AOF: runs end, and the list of events is whole', async (t) => {
    const { redis, coordinator } = await house(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
    const ids = await crowd(coordinator, 20)
    await redis.kill9()
    await notReady(coordinator)
    assertError(await ask(coordinator, 'slowly'), 503, 'store_down')
    assertError(await coordinator.get(`/api/v1/runs/${ids[0]}`), 503, 'store_down')
    await redis.restart()
    await coordinator.ready()
    for (const id of ids) checkEvents((await over(coordinator, id)).events, id)
    assert.equal((await over(coordinator, await start(coordinator, 'slowly'))).status, 'completed')
    assert.equal(await redis.cli('XLEN', 'wf.dead'), '0')
  })

  test('stopped, and woken up: 503 meanwhile, and each event is published once', async (t) => {
    const { redis, coordinator, heard } = await house(t)
    const ids = await crowd(coordinator, 20)
    redis.pause()
    await notReady(coordinator)
    assertError(await ask(coordinator, 'slowly'), 503, 'store_down')
    redis.resume()
    await coordinator.ready(20_000 * SLOW)
    await checkAll(coordinator, ids, heard)
  })

  test('CLIENT PAUSE holds everything up for a moment, and nothing is lost', async (t) => {
    const { redis, coordinator, heard } = await house(t)
    const ids = await crowd(coordinator, 20)
    for (const mode of ['WRITE', 'ALL']) {
      await redis.cli('CLIENT', 'PAUSE', 1500, mode)
      await sleep(1600)
    }
    await checkAll(coordinator, ids, heard)
  })
})

describe('the embedded store is full', () => {
  test('new runs are 503 store_full, those under way wait, and after retention there is room', async (t) => {
    const server = await startServer(t, { role: 'demo', args: ['--data', join(tempDir(t, 'full'), 'd'), '--flow-disk-bytes', '2MiB', '--flow-retention', '4s'] })
    assert.equal((await put(server, 'slowly', SLOWLY)).status, 201)
    assert.equal((await put(server, 'pass', chain(['transform']))).status, 201)
    const ids = await crowd(server, 5)
    const taken = []
    const full = await until('the store is full', async () => {
      const reply = await ask(server, 'pass', { i: taken.length, x: `${taken.length}`.padEnd(100_000, 'x') })
      if (reply.status === 201) taken.push(reply.json().run_id)
      return reply.status !== 201 && reply
    }, { ms: 20_000 * SLOW, every: 1 })
    assertError(full, 503, 'store_full')
    assert.ok(taken.length > 3, `${taken.length} were taken`)
    assert.equal((await server.get('/health')).status, 200)
    assert.equal((await events(server, taken[0])).events[0]?.type, 'workflow_started', 'what is there can be looked at')
    await until('there is room again', async () => (await ask(server, 'pass', { x: 'y'.repeat(100_000) })).status === 201, { ms: 30_000 * SLOW, every: 200 })
    for (const id of ids) {
      const reply = await server.get(`/api/v1/runs/${id}/events`)
      const got = reply.status === 404 ? null : await over(server, id) // Or over, and gone with its retention.
      if (got) checkEvents(got.events, id)
    }
    const running = (await server.get('/api/v1/runs?status=running&tag=slowly')).json().runs
    assert.deepEqual(running, [])
  })
})

describe('a coordinator stands still', () => {
  test('stopped for longer than its lease while another takes over, and woken up: every event once', { timeout: 120_000 * SLOW }, async (t) => {
    const redis = await startRedis(t)
    const first = await startServer(t, { role: 'coordinator', redis, args: ['--flow-name', 'first'] })
    const { heard } = await listen(t, redis)
    assert.equal((await put(first, 'slowly', SLOWLY)).status, 201)
    const ids = await crowd(first, 100)
    await sleep(350) // In the middle of it: timers are due, tasks and steps under way.
    first.signal('SIGSTOP')
    const second = await startServer(t, { role: 'coordinator', redis, args: ['--flow-name', 'second'] })
    ids.push(...await crowd(second, 20))
    for (const id of ids) await over(second, id) // Whatever the first had in hand is found after its lease.
    const { coordinators } = { coordinators: await redis.cli('ZRANGE', 'wf.coordinators', 0, -1) }
    assert.equal(coordinators, 'second')
    first.signal('SIGCONT')
    await readyBecomes(first, 200, 20_000 * SLOW)
    ids.push(...await crowd(first, 20))
    await checkAll(second, ids, heard)
    for (const id of ids) assert.equal(await redis.cli('GET', `counter:${id}`), '0')
    assert.equal(await redis.cli('XLEN', 'wf.dead'), '0')
    assert.equal(await redis.cli('ZCARD', 'wf.timers'), '0')
  })
})
