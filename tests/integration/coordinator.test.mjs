// The coordinator inside `fanout demo`, and beside a gateway without Redis; contracts.md section 3. Proves:
// - the curl of the contract: a `ws` client sees the events in their order with the exact fields, the poll endpoint the same list
// - starts by either path; 401, 404, 400, 405 where they belong; lists, details, results, 304
// - branch, join, loop, approval, retries, a handled failure: the samples do what they say; cancel
// - workflows come from a directory, and again when a file changes; what is wrong with one is in the log
// - without Redis and without a gateway it refuses to start, and says what to do
// - a drain ends with exit code 0, and runs are there after a restart; so with a descriptor table for each thread
// - a request of an http node is waited for by a drain, and made once; it ends with its run
import assert from 'node:assert/strict'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe } from 'node:test'
import { assertError, connect, fanout, freePort, shared, SLOW, startServer, tempDir, test, until } from '../support/harness.mjs'

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const REF = /^sha256:[0-9a-f]{64}$/
const TERMINAL = /^workflow_(completed|failed|cancelled)$/
const as = (user) => ({ headers: { 'X-User-ID': user } })

async function start(server, tag, inputs, user = 'test-user') {
  const reply = await server.post('/api/v1/runs', { tag, inputs }, as(user))
  assert.equal(reply.status, 201, reply.text)
  return reply.json().run_id
}
const events = async (server, id) => (await server.get(`/api/v1/runs/${id}/events`)).json()
const over = (server, id) => until(`run ${id} is over`, async () => {
  const got = await events(server, id)
  return got.status !== 'running' && got
}, { ms: 20_000 * SLOW })
const put = (server, tag, body) => server.request('PUT', `/api/v1/workflows/${tag}`, { body })
const types = (list) => list.map(({ type, node_id: node }) => node ? `${type} ${node}` : type)

/** A server that does not answer until answer(), and a workflow that asks it. */
async function httpTarget(t) {
  const waiting = new Set(), target = { asked: 0, left: 0, answer: () => waiting.forEach((response) => response.end('fine')) }
  const server = createServer((request, response) => {
    target.asked += 1
    waiting.add(response)
    response.on('close', () => { target.left += !response.writableFinished })
  })
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.after(() => { server.closeAllConnections(); server.close() })
  target.workflow = {
    nodes: [{ id: 'order', type: 'http', config: { url: `http://127.0.0.1:${server.address().port}/`, body: { n: 1 } }, timeout_ms: 300_000 }, { id: 'after', type: 'transform' }],
    edges: [{ from: 'order', to: 'after' }],
  }
  return target
}

describe('the contract, in one process', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo' }) }))

  test('flight-search: what a socket sees, field by field, and the same from the poll endpoint', async (t) => {
    const client = await connect(t, at.server, '?username=test-user')
    const before = Math.floor(Date.now() / 1000)
    const reply = await at.server.post('/api/v1/runs', { tag: 'flight-search', inputs: { city: 'NYC' } }, as('test-user'))
    assert.equal(reply.status, 201, reply.text)
    const { run_id: id, tag, status } = reply.json()
    assert.match(id, UUID7)
    assert.deepEqual([tag, status], ['flight-search', 'running'])
    await client.waitFrames(6)
    const [started, first, searched, second, formatted, completed] = client.json
    const { timestamp } = started
    assert.ok(timestamp >= before && timestamp <= Date.now() / 1000)
    assert.deepEqual(started, { type: 'workflow_started', run_id: id, tag: 'flight-search', nodes: 2, entry_nodes: 1, timestamp })
    assert.deepEqual(first, { type: 'node_started', run_id: id, node_id: 'search', attempt: 1, timestamp: first.timestamp })
    assert.match(searched.result_ref, REF)
    assert.deepEqual(searched, { type: 'node_completed', run_id: id, node_id: 'search', status: 'completed', counter: 1, result_ref: searched.result_ref, timestamp: searched.timestamp })
    assert.deepEqual(second, { type: 'node_started', run_id: id, node_id: 'format', attempt: 1, timestamp: second.timestamp })
    assert.deepEqual(formatted, { type: 'node_completed', run_id: id, node_id: 'format', status: 'completed', counter: 0, result_ref: formatted.result_ref, timestamp: formatted.timestamp })
    assert.ok(Number.isInteger(completed.duration_ms) && completed.duration_ms >= 0)
    assert.deepEqual(completed, { type: 'workflow_completed', run_id: id, counter: 0, duration_ms: completed.duration_ms, timestamp: completed.timestamp })
    const polled = await over(at.server, id)
    assert.deepEqual(polled, { run_id: id, events: client.json, status: 'completed' })
    const history = (await at.server.get(`/api/v1/channels/${encodeURIComponent(`run:${id}`)}/history?since=begin`)).json()
    assert.deepEqual(history.events.map(({ data }) => data), client.json, 'the gateway keeps it under the run, too')
    const result = await at.server.get(`/api/v1/results/${formatted.result_ref}`)
    assert.deepEqual(result.json().items.map(({ price }) => price), [275, 310, 420])
    assert.equal(result.json().items[0].to, 'NYC')
  })

  test('a poll that knows the list is answered 304, and since and limit cut it', async () => {
    const id = await start(at.server, 'flight-search', { city: 'LA' })
    await over(at.server, id)
    const path = `/api/v1/runs/${id}/events`
    const { etag } = (await at.server.get(path)).headers
    const again = await at.server.get(path, { headers: { 'if-none-match': etag } })
    assert.deepEqual([again.status, again.body.length], [304, 0])
    const cut = (await at.server.get(`${path}?since=1&limit=2`)).json()
    assert.deepEqual(types(cut.events), ['node_started search', 'node_completed search'])
    assert.deepEqual((await at.server.get(`${path}?limit=0`)).json().events, [])
    assertError(await at.server.get(`${path}?since=x`), 400)
  })

  test('the other path starts one, too, and details and lists show it', async () => {
    const reply = await at.server.post('/api/v1/workflows/flight-search/execute', { inputs: { city: 'SF' } }, as('lister'))
    assert.equal(reply.status, 201, reply.text)
    const { run_id: id } = reply.json()
    await over(at.server, id)
    const run = (await at.server.get(`/api/v1/runs/${id}`)).json()
    assert.deepEqual([run.run_id, run.tag, run.user, run.status, run.counter], [id, 'flight-search', 'lister', 'completed', 0])
    assert.deepEqual(run.nodes.map((n) => [n.id, n.state, n.attempt]), [['search', 'completed', 1], ['format', 'completed', 1]])
    const list = (await at.server.get('/api/v1/runs?user=lister&status=completed&tag=flight-search')).json()
    assert.deepEqual(list.runs.map((r) => r.run_id), [id])
    assert.deepEqual((await at.server.get('/api/v1/runs?user=lister&status=failed')).json().runs, [])
    for (const query of ['limit=0', 'limit=1001', 'limit=x', 'status=nap', 'user=%zz']) {
      assertError(await at.server.get(`/api/v1/runs?${query}`), 400)
    }
  })

  test('pages of runs follow each other without a gap', async () => {
    const ids = []
    for (let i = 0; i < 5; i++) ids.unshift(await start(at.server, 'flight-search', { i }, 'pager'))
    const seen = []
    for (let after = ''; after !== null;) {
      const page = (await at.server.get(`/api/v1/runs?user=pager&limit=2${after && `&after=${after}`}`)).json()
      assert.ok(page.runs.length <= 2)
      seen.push(...page.runs.map((r) => r.run_id))
      after = page.next ?? null
    }
    assert.deepEqual(seen, ids)
  })

  test('who asks must be said, and be a name that a channel can have', async () => {
    const body = { tag: 'flight-search', inputs: {} }
    for (const headers of [{}, { 'X-User-ID': '' }, { 'X-User-ID': 'x'.repeat(256) }, { 'X-User-ID': Buffer.from([0xff]).toString('latin1') }]) {
      assertError(await at.server.post('/api/v1/runs', body, { headers }), 401)
    }
    assertError(await at.server.post('/api/v1/workflows/flight-search/execute', {}), 401)
    assertError(await at.server.post('/api/v1/runs/x/cancel', ''), 401)
    assertError(await at.server.post('/api/approval', {}), 401)
  })

  test('what is unknown is 404, what is malformed 400, another method 405', async () => {
    const nobody = '01890000-0000-7000-8000-000000000000'
    assertError(await at.server.post('/api/v1/runs', { tag: 'no-such', inputs: {} }, as('a')), 404)
    for (const path of [`runs/${nobody}`, `runs/${nobody}/events`, 'workflows/no-such', `results/sha256:${'0'.repeat(64)}`]) {
      assertError(await at.server.get(`/api/v1/${path}`), 404)
    }
    assertError(await at.server.post(`/api/v1/runs/${nobody}/cancel`, '', as('a')), 404)
    assertError(await at.server.post('/api/approval', { run_id: nobody, node_id: 'x', approved: true }, as('a')), 404)
    for (const body of ['', '{', '[]', '"x"', '{"tag":7}', '{"tag":"flight-search","tag":"x"}']) {
      assertError(await at.server.post('/api/v1/runs', body, as('a')), 400)
      assertError(await at.server.post('/api/approval', body, as('a')), 400)
    }
    assertError(await at.server.get('/api/v1/runs/%zz'), 400)
    for (const [method, path] of [['DELETE', '/api/v1/runs'], ['PUT', '/api/v1/runs/x'], ['GET', '/api/approval'], ['POST', '/api/v1/workflows']]) {
      assert.equal((await at.server.request(method, path, { body: '' })).status, 405, `${method} ${path}`)
    }
  })

  test('a run that others publish is still polled from the gateway', async () => {
    await at.server.publish('user:old', { type: 'workflow_started', run_id: 'theirs-1' })
    await at.server.publish('user:old', { type: 'workflow_failed', run_id: 'theirs-1' })
    const polled = await events(at.server, 'theirs-1')
    assert.deepEqual([polled.status, types(polled.events)], ['failed', ['workflow_started', 'workflow_failed']])
    const long = 'x'.repeat(100) // Longer than a run's id of ours can be.
    await at.server.publish('user:old', { type: 'workflow_started', run_id: long })
    assert.equal((await events(at.server, long)).events.length, 1)
  })

  test('workflows are put, shown, replaced and deleted', async () => {
    const one = { nodes: [{ id: 'a', type: 'transform', config: {} }], edges: [] }
    assert.equal((await put(at.server, 'mine', one)).status, 201)
    assert.equal((await put(at.server, 'mine', one)).status, 200)
    assert.deepEqual((await at.server.get('/api/v1/workflows/mine')).json().definition, one)
    assert.ok((await at.server.get('/api/v1/workflows')).json().workflows.some(({ tag }) => tag === 'mine'))
    const bad = await put(at.server, 'mine', { nodes: [{ id: 'a', type: 'transform' }], edges: [{ from: 'a', to: 'b' }, { from: 'c', to: 'a' }] })
    assertError(bad, 400)
    assert.equal(bad.json().faults.length, 2, bad.text)
    const gone = await at.server.delete('/api/v1/workflows/mine')
    assert.deepEqual([gone.status, gone.body.length], [204, 0])
    assertError(await at.server.delete('/api/v1/workflows/mine'), 404)
    assertError(await at.server.get('/api/v1/workflows/mine'), 404)
  })

  test('metrics count what happened', async () => {
    const before = await at.server.metrics()
    const id = await start(at.server, 'flight-search', { city: 'x' })
    await over(at.server, id)
    const after = await at.server.metrics()
    const grown = (name, labels) => after.value(name, labels) - before.value(name, labels)
    assert.equal(grown('fanout_flow_runs_started_total'), 1)
    assert.equal(grown('fanout_flow_runs_ended_total', { status: 'completed' }), 1)
    assert.equal(grown('fanout_flow_nodes_total', { status: 'completed' }), 2)
    assert.equal(grown('fanout_flow_tokens_emitted_total'), grown('fanout_flow_tokens_consumed_total'))
    assert.equal(grown('fanout_flow_events_total'), 6)
    assert.equal(after.value('fanout_flow_up'), 1)
  })
})

describe('the samples', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo' }) }))

  for (const approved of [true, false]) {
    test(`trip-booking waits for a human, who ${approved ? 'approves' : 'rejects'}`, async (t) => {
      const user = `boss-${approved}`
      const client = await connect(t, at.server, `?username=${user}`)
      const id = await start(at.server, 'trip-booking', { city: 'Lisbon', flight_price: 420, hotel_price: 640 }, user)
      const asked = await client.waitJson('approval_requested', (e) => e.type === 'approval_requested')
      assert.deepEqual([asked.node_id, asked.message], ['approve', 'The trip to Lisbon costs 1150. Book it?'])
      const decision = { run_id: id, node_id: 'approve', approved, comment: 'so be it' }
      assert.equal((await at.server.post('/api/approval', decision, as(user))).status, 200)
      assertError(await at.server.post('/api/approval', decision, as(user)), 409)
      const { events: all, status } = await over(at.server, id)
      assert.equal(status, 'completed')
      assert.deepEqual(all.filter(({ type }) => type === 'approval_decided').map((e) => [e.approved, e.by]), [[approved, user]])
      const done = types(all.filter(({ type }) => type === 'node_completed'))
      const looks = done.filter((name) => name.endsWith(' look')).length
      assert.equal(looks, approved ? 3 : 0, 'the loop went round as often as it should')
      assert.equal(done.at(-1), approved ? 'node_completed confirm' : 'node_completed decline')
      assert.equal(all.at(-1).counter, 0)
      await client.waitFrames(all.length)
      assert.deepEqual(client.json, all)
    })
  }

  test('a cheap trip asks nobody', async () => {
    const id = await start(at.server, 'trip-booking', { city: 'Rome', flight_price: 100, hotel_price: 100 })
    const { events: all } = await over(at.server, id)
    assert.equal(all.filter(({ type }) => /approval/.test(type)).length, 0)
    assert.equal(types(all).at(-2), 'node_completed confirm')
  })

  test('flaky-service fails twice, and is tried again', async () => {
    const { events: all, status } = await over(at.server, await start(at.server, 'flaky-service', { order: 7 }))
    assert.equal(status, 'completed')
    const failures = all.filter(({ type }) => type === 'node_failed')
    assert.deepEqual(failures.map((e) => [e.attempt, e.will_retry, e.error]), [[1, true, 'the service is overloaded'], [2, true, 'the service is overloaded']])
    assert.deepEqual(all.filter(({ type, node_id: node }) => type === 'node_started' && node === 'call').map((e) => e.attempt), [1, 2, 3])
  })

  test('fallback fails for good, and goes on all the same', async () => {
    const { events: all, status } = await over(at.server, await start(at.server, 'fallback', { city: 'Oslo' }))
    assert.equal(status, 'completed')
    const answer = all.find((e) => e.type === 'node_completed' && e.node_id === 'answer')
    const result = (await at.server.get(`/api/v1/results/${answer.result_ref}`)).json()
    assert.deepEqual(result, { city: 'Oslo', travel: { by: 'train', because: 'no seats left' } })
  })

  test('a run is cancelled while it waits', async () => {
    const id = await start(at.server, 'trip-booking', { city: 'Rome', hotel_price: 900 })
    await until('it waits', async () => types((await events(at.server, id)).events).includes('approval_requested approve'))
    assert.equal((await at.server.post(`/api/v1/runs/${id}/cancel`, '', as('boss'))).status, 200)
    const { events: all, status } = await over(at.server, id)
    assert.equal(status, 'cancelled')
    assert.deepEqual([all.at(-1).type, all.at(-1).by, all.at(-1).counter], ['workflow_cancelled', 'boss', 0])
    assert.equal(all.filter(({ type }) => TERMINAL.test(type)).length, 1)
  })
})

describe('a directory of workflows', () => {
  const definition = (n) => JSON.stringify({ nodes: [{ id: 'a', type: 'transform', config: { output: { n } } }], edges: [] })
  const write = (dir, name, text) => {
    writeFileSync(join(dir, `.${name}`), text)
    renameSync(join(dir, `.${name}`), join(dir, name))
  }
  const stored = async (server, tag) => (await server.get(`/api/v1/workflows/${tag}`)).json().definition?.nodes[0].config.output.n

  test('its files are there at once, and anew when they change; what is wrong is told', async (t) => {
    const dir = tempDir(t, 'workflows')
    write(dir, 'one.json', definition(1))
    write(dir, 'bad.json', '{"nodes":[{"id":"a","type":"transform"}],"edges":[{"from":"a","to":"b"},{"from":"x","to":"a"}]}')
    write(dir, 'notes.txt', 'nothing of ours')
    mkdirSync(join(dir, 'sub.json'))
    const server = await startServer(t, { role: 'demo', args: ['--workflows', dir] })
    assert.equal(await stored(server, 'one'), 1)
    await server.waitLine(/ev=workflow\.faulty file=bad fault=.*faults=2/)
    write(dir, 'one.json', definition(2))
    await until('the new one is stored', async () => await stored(server, 'one') === 2)
    write(dir, 'bad.json', definition(3))
    await until('the repaired one is stored', async () => await stored(server, 'bad') === 3)
    assert.equal(server.lines.filter((line) => /workflow\.faulty/.test(line)).length, 1)
  })

  test('one that cannot be read is a start error', async () => {
    const out = await fanout(['demo', '--listen', `127.0.0.1:${await freePort()}`, '--data', 'none', '--workflows', '/nonexistent/dir'])
    assert.equal(out.code, 1)
    assert.match(out.stderr, /\/nonexistent\/dir, cannot be read: No such file/)
  })
})

describe('starting and leaving', () => {
  test('without Redis and without a gateway it refuses, and says what to do', async () => {
    const out = await fanout(['coordinator'])
    assert.equal(out.code, 2)
    assert.match(out.stderr, /--gateway http:\/\/127\.0\.0\.1:8084.*--redis-host.*fanout demo/)
    assert.match((await fanout(['coordinator', '--help'])).stdout, /Examples[\s\S]*--gateway URL[\s\S]*\[default: :8081\]|\[default: :8081\][\s\S]*--gateway URL/)
    assert.equal((await fanout(['coordinator', '--gateway', 'gateway:8084'])).code, 2)
    assert.equal((await fanout(['coordinator', '--ws-ping-interval', '1s'])).code, 2, 'what a gateway alone has is no flag of it')
  })

  test('the command that the demo greets with starts a run', async (t) => {
    const server = await startServer(t, { role: 'demo' })
    const line = await server.waitLine(/^ +Run /)
    const [, user, body, url] = /curl -H 'X-User-ID: (\w+)' -d '(.*)' (\S+)$/.exec(line)
    const reply = await server.post(new URL(url).pathname, body, { headers: { 'X-User-ID': user, 'content-type': 'application/x-www-form-urlencoded' } })
    assert.equal(reply.status, 201, reply.text)
    assert.equal((await over(server, reply.json().run_id)).status, 'completed')
  })

  test('beside a gateway, events go there by HTTP; /ready knows whether it is there', async (t) => {
    const port = await freePort()
    const coordinator = await startServer(t, { role: 'coordinator', ready: false, args: ['--gateway', `http://127.0.0.1:${port}`] })
    await until('/ready is 503', async () => (await coordinator.get('/ready')).status === 503)
    assert.equal((await coordinator.get('/health')).text, 'OK')
    const gateway = await startServer(t, { port })
    await coordinator.ready()
    const client = await connect(t, gateway, '?username=test-user')
    assert.equal((await put(coordinator, 'two', {
      nodes: [{ id: 'a', type: 'transform', config: {} }, { id: 'b', type: 'delay', config: { ms: 50 } }], edges: [{ from: 'a', to: 'b' }],
    })).status, 201)
    const id = await start(coordinator, 'two', {})
    const { events: all } = await over(coordinator, id)
    await client.waitFrames(all.length)
    assert.deepEqual(client.json, all)
    assert.deepEqual((await events(gateway, id)).events, all)
    for (const path of ['/ws?username=a', '/', '/api/v1/connections']) assertError(await coordinator.get(path), 404)
    assertError(await coordinator.post('/api/v1/publish', { channel: 'user:a', data: 1 }), 404)
  })

  test('runs and workflows are there after a restart, and what waited goes on', async (t) => {
    const args = ['--data', join(tempDir(t, 'data'), 'kept')]
    const port = await freePort()
    const first = await startServer(t, { role: 'demo', port, args })
    const done = await start(first, 'flight-search', { city: 'NYC' })
    const { events: all } = await over(first, done)
    const waiting = await start(first, 'trip-booking', { city: 'Rome', hotel_price: 900 })
    await until('it waits', async () => types((await events(first, waiting)).events).includes('approval_requested approve'))
    await first.stop()
    const second = await startServer(t, { role: 'demo', port, args })
    assert.deepEqual((await events(second, done)).events, all)
    assert.equal((await second.post('/api/approval', { run_id: waiting, node_id: 'approve', approved: true }, as('boss'))).status, 200)
    assert.equal((await over(second, waiting)).status, 'completed')
  })

  test('with a descriptor table for each thread, too, and so is what was published', async (t) => {
    const args = ['--data', join(tempDir(t, 'data'), 'kept'), '--fd-tables', '--shards', '2']
    // What such a thread holds goes with the process; and ThreadSanitizer takes equal numbers in two tables for one descriptor.
    const env = { ASAN_OPTIONS: 'detect_leaks=0', TSAN_OPTIONS: 'report_bugs=0' }
    const once = (at) => at.post('/api/v1/channels/user:k?ack=durable', '1', { headers: { 'Idempotency-Key': 'once' } })
    const port = await freePort()
    let server = await startServer(t, { role: 'demo', port, args, env })
    const id = await start(server, 'flight-search', { city: 'NYC' })
    const { events: all } = await over(server, id)
    for (let i = 0; i < 8; i++) assert.equal((await server.post('/api/v1/publish?ack=durable', { channel: `user:u${i}`, data: i })).status, 200)
    assert.equal((await once(server)).json().duplicate, false)
    await server.stop()
    server = await startServer(t, { role: 'demo', port, args, env })
    assert.equal((await once(server)).json().duplicate, true)
    assert.deepEqual((await events(server, id)).events, all)
    for (let i = 0; i < 8; i++) {
      const history = (await server.get(`/api/v1/channels/user:u${i}/history?since=begin`)).json()
      assert.deepEqual(history.events.map(({ data }) => data), [i])
    }
    assert.equal((await over(server, await start(server, 'flight-search', { city: 'NYC' }))).status, 'completed')
  })

  test('what came of a request is not thrown away by SIGTERM: it is made once', async (t) => {
    const target = await httpTarget(t)
    const args = ['--data', join(tempDir(t, 'data'), 'kept'), '--flow-http-private']
    const port = await freePort()
    const first = await startServer(t, { role: 'demo', port, args })
    assert.equal((await put(first, 'order', target.workflow)).status, 201)
    const id = await start(first, 'order', {})
    await until('it is asked', () => target.asked === 1)
    const stopped = first.stop()
    await first.waitLine(/ev=drain /)
    target.answer()
    await stopped
    const second = await startServer(t, { role: 'demo', port, args })
    const { events: all, status } = await over(second, id)
    assert.equal(status, 'completed')
    assert.deepEqual(types(all), ['workflow_started', 'node_started order', 'node_completed order', 'node_started after', 'node_completed after', 'workflow_completed'])
    assert.equal(target.asked, 1)
  })

  test('a request ends when its run is cancelled, or fails elsewhere', async (t) => {
    const target = await httpTarget(t)
    const server = await startServer(t, { role: 'demo', args: ['--flow-http-private'] })
    const active = async () => (await server.metrics()).value('fanout_flow_http_active')
    assert.equal((await put(server, 'order', target.workflow)).status, 201)
    const id = await start(server, 'order', {})
    await until('it is asked', () => target.asked === 1)
    assert.equal(await active(), 1)
    assert.equal((await server.post(`/api/v1/runs/${id}/cancel`, '', as('boss'))).status, 200)
    await until('the request is given up', () => target.left === 1)
    const beside = { ...target.workflow, nodes: [...target.workflow.nodes, { id: 'soon', type: 'delay', config: { ms: 100 } }, { id: 'bad', type: 'fail' }] }
    beside.edges = [...beside.edges, { from: 'soon', to: 'bad' }]
    assert.equal((await put(server, 'beside', beside)).status, 201)
    const failed = await start(server, 'beside', {})
    assert.equal((await over(server, failed)).status, 'failed')
    await until('that request, too', () => target.left === 2)
    assert.equal(target.asked, 2)
    assert.equal(await active(), 0)
    assert.equal((await over(server, await start(server, 'flight-search', { city: 'NYC' }))).status, 'completed')
  })

  test('SIGTERM while runs are under way ends with 0, and they end after the restart, each event once', async (t) => {
    const args = ['--data', join(tempDir(t, 'data'), 'kept')]
    const port = await freePort()
    const first = await startServer(t, { role: 'demo', port, args })
    const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => start(first, 'trip-booking', { city: `c${i}`, hotel_price: 1, flight_price: 1 }, 'busy')))
    await first.stop()
    const second = await startServer(t, { role: 'demo', port, args })
    const client = await connect(t, second, '?channel=user:busy&since=begin')
    let count = 0
    for (const id of ids) {
      const { events: all, status } = await over(second, id)
      assert.equal(status, 'completed')
      assert.equal(all.filter(({ type }) => TERMINAL.test(type)).length, 1)
      const published = (await second.get(`/api/v1/channels/${encodeURIComponent(`run:${id}`)}/history?since=begin`)).json().events.map(({ data }) => data)
      await until('all of it is published', async () => (await second.get(`/api/v1/channels/${encodeURIComponent(`run:${id}`)}/history?since=begin`)).json().events.length >= all.length)
      assert.ok(published.length <= all.length)
      count += all.length
    }
    await client.waitFrames(count)
    const heard = client.json.map(({ data }) => data)
    for (const id of ids) assert.deepEqual(heard.filter((e) => e?.run_id === id), (await events(second, id)).events)
  })
})
