// The stores of the coordinator in trouble, and coordinators that stand still; docs/workflows.md "What happens when". Proves:
// - Redis full (maxmemory, noeviction): new runs are 503 store_full, those under way wait and go on when there is room
// - Redis killed with -9 and restarted with AOF, paused by CLIENT PAUSE, stopped: /ready 503 with a sentence, questions 503,
//   and afterwards every run ends, each event published once and in order
// - signals that came before Redis was full are worked off when there is room; keys of another type, garbage in a run's header
//   and a Redis that was emptied harm nothing but what they hit
// - the embedded store full: 503 store_full, the metrics say so, and there is room again after retention
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

describe('Redis has what nobody expects', () => {
  const house = async (t) => {
    const redis = await startRedis(t)
    const coordinator = await startServer(t, { role: 'coordinator', redis })
    const client = await redis.client(t)
    assert.equal((await put(coordinator, 'work', chain(['function'], ['transform']))).status, 201)
    return { redis, coordinator, client }
  }
  const take = (client) => until('a function is to be done', async () => {
    const [entry] = await client.xRange('wf.tasks.function', '-', '+')
    if (!entry) return false
    await client.xDel('wf.tasks.function', entry.id)
    return JSON.parse(entry.message.token)
  })
  const say = (client, token) => client.rPush('completion_signals', JSON.stringify({ job_id: token.id, run_id: token.run_id, node_id: token.to_node, status: 'completed', result_data: 1 }))

  test('signals that came before it was full are worked off when there is room', async (t) => {
    const { redis, coordinator, client } = await house(t)
    const ids = []
    for (let i = 0; i < 5; i++) ids.push(await start(coordinator, 'work'))
    const tokens = []
    for (const _ of ids) tokens.push(await take(client))
    coordinator.signal('SIGSTOP')
    for (const token of tokens) await say(client, token)
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1mb')
    coordinator.signal('SIGCONT')
    await sleep(1500)
    assertError(await ask(coordinator, 'work'), 503, 'store_full')
    assert.equal((await coordinator.get('/api/v1/runs?status=running')).json().runs.length, 5)
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0')
    for (const id of ids) {
      const { events: list, status } = await over(coordinator, id)
      assert.deepEqual([status, list.length], ['completed', 6])
    }
    assert.equal(await redis.cli('EXISTS', 'completion_signals'), '0')
  })

  test('a run whose header is garbage is told so, and its signals are buried; others go on', async (t) => {
    const { redis, coordinator, client } = await house(t)
    const broken = await start(coordinator, 'work'), token = await take(client)
    const good = await start(coordinator, 'work'), other = await take(client)
    for (const garbage of ['{"status":', '[]', '{}', '{"status":"running","counter":-5}']) {
      await client.hSet(`run:${broken}`, 'header', garbage)
      assertError(await coordinator.get(`/api/v1/runs/${broken}`), 500, 'unreadable_run')
      assert.equal((await coordinator.get('/api/v1/runs')).status, 200)
    }
    // Whoever has the run in memory learns of it when its write is refused: its version is not the expected one.
    await client.hIncrBy(`run:${broken}`, 'version', 1)
    await say(client, token)
    const dead = await until('the signal is buried', async () => (await client.xRange('wf.dead', '-', '+'))[0]?.message)
    assert.match(dead.reason, /what the store has of its run cannot be read/)
    await say(client, other)
    assert.equal((await over(coordinator, good)).status, 'completed')
    await coordinator.waitLine(/ev=run\.unreadable run=/)
    assert.equal(await redis.cli('EXISTS', 'completion_signals'), '0')
  })

  test('keys of another type stand in the way only as long as they are there', async (t) => {
    const { redis, coordinator, client } = await house(t)
    const id = await start(coordinator, 'work'), token = await take(client)
    const keys = ['completion_signals', 'wf.tasks.transform', 'wf.run.requests', 'wf.timers', 'wf.dead', 'wf.workflows', 'wf.runs', 'wf.coordinators']
    const workflows = await client.hGetAll('wf.workflows')
    for (const key of keys) {
      await client.del(key)
      await client.set(key, 'not that')
    }
    await sleep(1500)
    assert.equal((await coordinator.get('/health')).status, 200)
    for (const path of ['runs', 'workflows', `runs/${id}/events`]) assert.ok((await coordinator.get(`/api/v1/${path}`)).status <= 503)
    await client.del(keys)
    await client.hSet('wf.workflows', workflows)
    await coordinator.ready()
    await say(client, token)
    assert.equal((await over(coordinator, id)).status, 'completed')
    await client.xAdd('wf.run.requests', '*', { request: JSON.stringify({ run_id: 'after', tag: 'work', username: 'u', inputs: {} }) })
    await say(client, await take(client))
    assert.equal((await over(coordinator, 'after')).status, 'completed')
    assert.equal(await redis.cli('TYPE', 'wf.coordinators'), 'zset')
  })

  test('after FLUSHALL what was is gone, and everything begins anew', async (t) => {
    const { coordinator, client } = await house(t)
    const lost = await start(coordinator, 'work'), token = await take(client)
    await client.flushAll()
    await say(client, token)
    const dead = await until('the signal is buried', async () => (await client.xRange('wf.dead', '-', '+'))[0]?.message)
    assert.match(dead.reason, /there is no such run/)
    assertError(await coordinator.get(`/api/v1/runs/${lost}`), 404, 'unknown_run')
    assertError(await ask(coordinator, 'work'), 404, 'unknown_workflow')
    assert.equal((await put(coordinator, 'work', chain(['function'], ['transform']))).status, 201)
    const id = await start(coordinator, 'work')
    await say(client, await take(client))
    assert.equal((await over(coordinator, id)).status, 'completed')
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
    assert.equal((await server.metrics()).value('fanout_flow_db_full'), 1)
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
    assert.equal(await redis.cli('ZRANGE', 'wf.coordinators', 0, -1), 'second')
    first.signal('SIGCONT')
    await readyBecomes(first, 200, 20_000 * SLOW)
    ids.push(...await crowd(first, 20))
    await checkAll(second, ids, heard)
    for (const id of ids) assert.equal(await redis.cli('GET', `counter:${id}`), '0')
    assert.equal(await redis.cli('XLEN', 'wf.dead'), '0')
    assert.equal(await redis.cli('ZCARD', 'wf.timers'), '0')
  })
})
