// The coordinator on Redis: gateway, coordinator and redis-server as three processes; contracts.md section 3. Proves:
// - the events of the contract reach a `ws` client of the gateway, and the poll endpoints of both
// - an outside worker in 20 lines takes one type of node, says how far it is, and its result is the node's
// - the keys of the contract are there while a run is under way, with the contract's content
// - who asked a human and does not wait any more has no key, whoever answers is told so; a decision's key stays
// - run requests come by wf.run.requests, and one that comes twice is one run
// - Redis away: /ready 503 with a sentence, questions 503; back: all goes on; it may be away at the start
// - Redis full: 503 store_full and a line in the log; runs wait, and end when there is room, each event once
// - with both a gateway and Redis named, a warning says that Redis carries the events
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { assertError, connect, freePort, readyBecomes, shared, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'

const as = (user) => ({ headers: { 'X-User-ID': user } })
const put = (server, tag, body) => server.request('PUT', `/api/v1/workflows/${tag}`, { body })
const events = async (server, id) => (await server.get(`/api/v1/runs/${id}/events`)).json()
const over = (server, id) => until(`run ${id} is over`, async () => {
  const got = await events(server, id)
  return got.status && got.status !== 'running' && got
}, { ms: 20_000 * SLOW })
const types = (list) => list.map(({ type, node_id: node }) => node ? `${type} ${node}` : type)
const chain = (...kinds) => ({
  nodes: kinds.map((type, i) => ({ id: `n${i}`, type, config: type === 'delay' ? { ms: 20 } : {} })),
  edges: kinds.slice(1).map((_, i) => ({ from: `n${i}`, to: `n${i + 1}` })),
})
async function start(server, tag, inputs, user = 'test-user') {
  const reply = await server.post('/api/v1/runs', { tag, inputs }, as(user))
  assert.equal(reply.status, 201, reply.text)
  return reply.json().run_id
}

/** As anybody would write it: a consumer group, a signal. fn gives the result. */
async function worker(t, redis, type, fn) {
  const client = await redis.client(t)
  const stream = `wf.tasks.${type}`, group = `${type}_workers`
  await client.xGroupCreate(stream, group, '0', { MKSTREAM: true }).catch(() => {})
  let going = true
  t.after(() => { going = false })
  const signal = (token, rest) => client.rPush('completion_signals', JSON.stringify({ version: '1.0', job_id: token.id, run_id: token.run_id, node_id: token.to_node, ...rest }))
  const loop = async () => {
    while (going) {
      const got = await client.xReadGroup(group, 'w1', { key: stream, id: '>' }, { COUNT: 1, BLOCK: 200 }).catch(() => null)
      for (const { id, message } of got?.[0]?.messages ?? []) {
        const token = JSON.parse(message.token)
        await fn({ token, client, signal })
        await client.xAck(stream, group, id)
      }
    }
  }
  loop().catch(() => {})
}

describe('three processes', () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const gateway = await startServer(t, { redis })
    const coordinator = await startServer(t, { role: 'coordinator', redis })
    return { redis, gateway, coordinator }
  })

  test('what the socket sees is the contract, in order', async (t) => {
    assert.equal((await put(at.coordinator, 'pair', chain('transform', 'delay'))).status, 201)
    const client = await connect(t, at.gateway, '?username=test-user')
    const id = await start(at.coordinator, 'pair', { city: 'NYC' })
    await client.waitFrames(6)
    assert.deepEqual(types(client.json), ['workflow_started', 'node_started n0', 'node_completed n0', 'node_started n1', 'node_completed n1', 'workflow_completed'])
    assert.deepEqual(client.json.filter(({ counter }) => counter !== undefined).map((e) => e.counter), [1, 0, 0])
    assert.deepEqual(await over(at.coordinator, id), { run_id: id, events: client.json, status: 'completed' })
    await until('the gateway has them, too', async () => (await events(at.gateway, id)).events?.length === 6)
    assert.deepEqual((await events(at.gateway, id)).events, client.json)
  })

  test('an outside worker takes a type, tells of progress, and its result is the result', async (t) => {
    assert.equal((await put(at.coordinator, 'outside', chain('transform', 'function', 'transform'))).status, 201)
    await worker(t, at.redis, 'function', async ({ token, client, signal }) => {
      const payload = JSON.parse(await client.get(`cas:${token.payload_ref}`))
      await signal(token, { status: 'progress', metadata: { percent: 40, message: 'half way' } })
      await signal(token, { status: 'completed', result_data: { doubled: payload.n * 2 } })
      await signal(token, { status: 'completed', result_data: { doubled: payload.n * 2 } })
    })
    const client = await connect(t, at.gateway, '?username=worker-user')
    const id = await start(at.coordinator, 'outside', { n: 21 }, 'worker-user')
    const { events: all, status } = await over(at.coordinator, id)
    assert.equal(status, 'completed')
    assert.deepEqual(types(all), ['workflow_started', 'node_started n0', 'node_completed n0', 'node_started n1', 'node_progress n1', 'node_completed n1', 'node_started n2', 'node_completed n2', 'workflow_completed'])
    const progress = all.find(({ type }) => type === 'node_progress')
    assert.deepEqual([progress.percent, progress.message], [40, 'half way'])
    const { result_ref: ref } = all.find((e) => e.type === 'node_completed' && e.node_id === 'n1')
    assert.deepEqual((await at.coordinator.get(`/api/v1/results/${ref}`)).json(), { doubled: 42 })
    await client.waitFrames(all.length)
    assert.deepEqual(client.json, all)
    await until('the second signal is taken off', async () => await at.redis.cli('LLEN', 'completion_signals') === '0')
    assert.equal(await at.redis.cli('XLEN', 'wf.dead'), '0')
  })

  test('while a run is under way its keys are those of the contract', async (t) => {
    assert.equal((await put(at.coordinator, 'stuck', chain('transform', 'classifier'))).status, 201)
    const id = await start(at.coordinator, 'stuck', { a: 1 }, 'keys')
    await until('the classifier has its task', async () => await at.redis.cli('XLEN', 'wf.tasks.classifier') === '1')
    assert.equal(await at.redis.cli('GET', `counter:${id}`), '1')
    const ir = JSON.parse(await at.redis.cli('GET', `ir:${id}`))
    assert.deepEqual(Object.keys(ir.nodes), ['n0', 'n1'])
    assert.deepEqual([ir.nodes.n0.dependents, ir.nodes.n1.dependencies, ir.nodes.n1.is_terminal], [['n1'], ['n0'], true])
    assert.deepEqual([ir.metadata.username, ir.metadata.tag], ['keys', 'stuck'])
    assert.match(await at.redis.cli('HGET', `context:${id}`, 'n0:output'), /^sha256:[0-9a-f]{64}$/)
    const [{ message }] = await (await at.redis.client(t)).xRange('wf.tasks.classifier', '-', '+')
    const token = JSON.parse(message.token)
    assert.deepEqual([token.run_id, token.from_node, token.to_node, token.hop], [id, 'n0', 'n1', 1])
    assert.equal(token.payload_ref, await at.redis.cli('HGET', `context:${id}`, 'n0:output'))
    assert.equal((await at.coordinator.post(`/api/v1/runs/${id}/cancel`, '', as('keys'))).status, 200)
    await until('nobody is to work on it any more', async () => await at.redis.cli('XLEN', 'wf.tasks.classifier') === '0')
    assert.equal(await at.redis.cli('GET', `counter:${id}`), '0')
  })

  test('a question that nobody waits for any more has no key, and an answer is told so', async (t) => {
    const ask = (id, approved = true) => at.coordinator.post('/api/approval', { run_id: id, node_id: 'ask', approved }, as('boss'))
    const asked = (id) => until(`${id} asks`, async () => JSON.parse(await at.redis.cli('GET', `hitl:approval:${id}:ask`)).status === 'pending')
    const hitl = { id: 'ask', type: 'hitl', config: { message: 'May it?' } }
    assert.equal((await put(at.coordinator, 'asks', { nodes: [hitl], edges: [] })).status, 201)
    assert.equal((await put(at.coordinator, 'hurries', {
      nodes: [{ ...hitl, timeout_ms: 200 }, { id: 'rest', type: 'delay', config: { ms: 600_000 } }],
      edges: [{ from: 'ask', to: 'rest', when: 'failed' }],
    })).status, 201)

    const cancelled = await start(at.coordinator, 'asks', {})
    await asked(cancelled)
    assert.equal((await at.coordinator.post(`/api/v1/runs/${cancelled}/cancel`, '', as('boss'))).status, 200)
    assert.equal(await at.redis.cli('EXISTS', `hitl:approval:${cancelled}:ask`), '0')
    assertError(await ask(cancelled), 409)
    assert.equal((await ask(cancelled)).json().error.code, 'run_over')

    const late = await start(at.coordinator, 'hurries', {})
    await until('nobody decided in time', async () => types((await events(at.coordinator, late)).events).includes('node_started rest'))
    assert.equal(await at.redis.cli('EXISTS', `hitl:approval:${late}:ask`), '0')
    assert.equal((await ask(late)).json().error.code, 'already_decided')
    assert.equal((await at.coordinator.post(`/api/v1/runs/${late}/cancel`, '', as('boss'))).status, 200)

    const decided = await start(at.coordinator, 'asks', {})
    await asked(decided)
    assert.equal((await ask(decided)).status, 200)
    const record = JSON.parse(await at.redis.cli('GET', `hitl:approval:${decided}:ask`))
    assert.deepEqual([record.status, record.by, record.message], ['approved', 'boss', 'May it?'])
    assert.equal((await ask(decided, false)).json().error.code, 'already_decided')
    assert.equal((await ask('no-such-run')).status, 404)
  })

  test('a run is asked for by the stream, and twice is once', async () => {
    assert.equal((await put(at.coordinator, 'asked', chain('transform'))).status, 201)
    const request = JSON.stringify({ run_id: 'asked-1', tag: 'asked', username: 'stream', inputs: {}, created_at: 1 })
    for (let i = 0; i < 2; i++) await at.redis.cli('XADD', 'wf.run.requests', '*', 'request', request)
    const { events: all, status } = await over(at.coordinator, 'asked-1')
    assert.equal(status, 'completed')
    assert.equal(all.filter(({ type }) => type === 'workflow_started').length, 1)
  })

  test('what is no request and no signal goes to wf.dead, and nothing else happens', async () => {
    await at.redis.cli('XADD', 'wf.run.requests', '*', 'request', '{"run_id":')
    await at.redis.cli('RPUSH', 'completion_signals', 'what is this')
    await until('both are dead', async () => await at.redis.cli('XLEN', 'wf.dead') === '2')
    assert.equal((await at.coordinator.get('/ready')).status, 200)
    await at.redis.cli('DEL', 'wf.dead')
  })
})

describe('Redis comes and goes', () => {
  test('it may be away at the start, and go later: /ready says so, questions are 503', async (t) => {
    const port = await freePort()
    const coordinator = await startServer(t, { role: 'coordinator', ready: false, env: { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(port) } })
    const down = await coordinator.get('/ready')
    assert.equal(down.status, 503)
    assert.match(down.text, /^not ready: .{8,}/)
    assert.equal((await coordinator.get('/healthz')).status, 503)
    assertError(await coordinator.post('/api/v1/runs', { tag: 'x' }, as('a')), 503)
    const redis = await startRedis(t, { port })
    await coordinator.ready()
    assert.equal((await put(coordinator, 'x', chain('transform'))).status, 201)
    assert.equal((await over(coordinator, await start(coordinator, 'x', {}))).status, 'completed')
    await redis.kill9()
    await readyBecomes(coordinator, 503, 10_000 * SLOW)
    assertError(await coordinator.get('/api/v1/workflows'), 503)
    await redis.restart()
    await coordinator.ready()
    assert.equal((await put(coordinator, 'x', chain('transform'))).status, 201)
    assert.equal((await over(coordinator, await start(coordinator, 'x', {}))).status, 'completed')
  })

  test('Redis full: new runs and decisions are refused, a line in the log says so; with room again all goes on', async (t) => {
    const redis = await startRedis(t)
    const coordinator = await startServer(t, { role: 'coordinator', redis })
    assert.equal((await put(coordinator, 'slow', { nodes: [{ id: 'a', type: 'delay', config: { ms: 300 } }, { id: 'b', type: 'transform' }], edges: [{ from: 'a', to: 'b' }] })).status, 201)
    assert.equal((await put(coordinator, 'asks', { nodes: [{ id: 'a', type: 'hitl', config: { message: '?' } }], edges: [] })).status, 201)
    const asking = await start(coordinator, 'asks', {})
    const decide = () => coordinator.post('/api/approval', { run_id: asking, node_id: 'a', approved: true }, as('boss'))
    await until('it asks', async () => types((await events(coordinator, asking)).events).includes('approval_requested a'))
    const slow = await start(coordinator, 'slow', {})
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1')
    await coordinator.waitLine(/ev=flow\.store_full /)
    for (const refused of [await coordinator.post('/api/v1/runs', { tag: 'slow' }, as('a')), await decide(), await coordinator.post(`/api/v1/runs/${slow}/cancel`, '', as('a'))]) {
      assertError(refused, 503)
      assert.equal(refused.json().error.code, 'store_full')
    }
    assert.equal((await events(coordinator, slow)).status, 'running')
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0')
    assert.deepEqual(types((await over(coordinator, slow)).events), ['workflow_started', 'node_started a', 'node_completed a', 'node_started b', 'node_completed b', 'workflow_completed'])
    assert.equal((await decide()).status, 200)
    assert.equal((await over(coordinator, asking)).status, 'completed')
  })

  test('with a gateway named as well, a warning says who carries the events', async (t) => {
    const redis = await startRedis(t)
    const coordinator = await startServer(t, { role: 'coordinator', redis, args: ['--gateway', 'http://127.0.0.1:1'] })
    await coordinator.waitLine(/warning: .*Redis carries the events/)
  })

  test('the demo keeps its runs in Redis when it is given one', async (t) => {
    const redis = await startRedis(t)
    const demo = await startServer(t, { role: 'demo', redis })
    const client = await connect(t, demo, '?username=test-user')
    const id = await start(demo, 'flight-search', { city: 'NYC' })
    await client.waitFrames(6)
    assert.deepEqual((await over(demo, id)).events, client.json)
    assert.equal(await redis.cli('GET', `counter:${id}`), '0')
  })
})
