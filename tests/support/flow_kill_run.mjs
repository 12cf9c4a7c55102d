// One run of the coordinator on its embedded store under kill -9, as a program:
// node flow_kill_run.mjs demo|beside async|sync SEED RUNS
//
// `demo`: one process is everything. `beside`: a gateway and a coordinator, each with a directory of its own, killed together or
// one at a time. tests/integration/coordinator_kill says what it proves. Prints figures as JSON.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import WebSocket from 'ws'
import { seeded } from './fault_proxy.mjs'
import { freePort, scoped, sleep, SLOW, startServer, tempDir, until } from './harness.mjs'

const [MODE, DURABILITY] = process.argv.slice(2)
const [SEED, RUNS] = process.argv.slice(4).map(Number)
const USERS = 10, BURST = 25
const TERMINAL = /^workflow_(completed|failed|cancelled)$/
const NODES = ['a', 'b1', 'b2', 'b3', 'b4', 'b5', 'z']
const workflow = (b4) => ({
  nodes: [
    { id: 'a', type: 'transform', config: { output: { n: '{{/inputs/n}}' } } },
    { id: 'b1', type: 'transform', config: { output: '{{/payload/n}}' } },
    { id: 'b2', type: 'delay', config: { ms: 300 } },
    { id: 'b3', type: 'fail', config: { times: 1, message: 'not yet' }, retry: { max_attempts: 2, backoff_ms: 100 } },
    { id: 'b4', ...b4 },
    { id: 'b5', type: 'aggregate', config: { op: 'collect' } },
    { id: 'z', type: 'aggregate', config: {} },
  ],
  edges: NODES.slice(1, 6).flatMap((id) => [{ from: 'a', to: id }, { from: id, to: 'z' }]),
})
const WORKFLOWS = { plain: workflow({ type: 'transform', config: {} }), asks: workflow({ type: 'hitl', config: { message: 'Go on?' } }) }

const cut = (error) => ({ status: 0, text: String(error) }) // The process is gone, or goes meanwhile.

/** The processes; each is back on its directory and its port a moment after it was killed. */
async function house(t, random) {
  const kept = ['--namespace', `user:durability=${DURABILITY},history_messages=1000000,history_bytes=256MiB,history_age=1h`]
  const ports = [await freePort(), await freePort()]
  const data = ['a', 'b'].map((name) => ['--data', join(tempDir(t, 'kill'), name)])
  const starts = MODE === 'demo'
    ? [() => startServer(t, { role: 'demo', port: ports[0], args: [...data[0], ...kept] })]
    : [() => startServer(t, { port: ports[0], args: [...data[0], ...kept] }),
      () => startServer(t, { role: 'coordinator', port: ports[1], ready: false, args: [...data[1], '--gateway', `http://127.0.0.1:${ports[0]}`] })]
  const servers = []
  for (const start of starts) servers.push(await start())
  let going = true, kills = 0
  const revive = async (i) => {
    servers[i].expectCode = null
    servers[i].signal('SIGKILL')
    await servers[i].exited
    servers[i].checkOutput()
    await sleep(random() * 200)
    servers[i] = await starts[i]()
    kills++
  }
  const blows = (async () => {
    while (going) {
      await sleep((500 + random() * 1500) * SLOW)
      if (!going) break
      const dice = Math.floor(random() * (2 ** servers.length - 1)) + 1 // Which of them, at least one.
      await Promise.all(servers.map((_, i) => dice & (1 << i) ? revive(i) : null))
    }
  })()
  return { gateway: () => servers[0], coordinator: () => servers.at(-1), kills: () => kills, async stop() { going = false; await blows } }
}

/** A socket of fanout.v1 that comes back with the cursor of what it saw last. */
function follow(t, at, user) {
  const channel = `user:${user}`
  const heard = [], states = []
  let cursor = 'begin', socket, going = true
  const open = () => {
    if (!going) return
    socket = new WebSocket(at.gateway().path(''), ['fanout.v1'])
    socket.on('open', () => socket.send(JSON.stringify({ id: 1, subscribe: { channel, since: cursor } })))
    socket.on('message', (bytes) => {
      const message = JSON.parse(bytes)
      if (message.id === 1) states.push(message.ok?.state ?? JSON.stringify(message))
      if (message.gap) states.push(JSON.stringify(message))
      if (!('data' in message)) return
      cursor = message.cursor
      heard.push(message.data)
    })
    socket.on('error', () => {})
    socket.on('close', () => setTimeout(open, 50))
  }
  open()
  t.after(() => { going = false; socket.terminate() })
  return { heard, states }
}

/** A client that asks until it is told 201. */
async function startRun(at, n) {
  const reply = await until(`run ${n} is taken`, async () => {
    const got = await at.coordinator().post('/api/v1/runs', { tag: n % 10 ? 'plain' : 'asks', inputs: { n } }, { headers: { 'X-User-ID': `u${n % USERS}` }, ms: 3000 }).catch(cut)
    assert.ok([0, 201, 503].includes(got.status), got.text)
    return got.status === 201 && got
  }, { ms: 60_000 * SLOW, every: 50 })
  return reply.json().run_id
}

/** One that answers what a run asks; 409: the answer came through, and what said so was lost. */
async function approve(at, id) {
  const decision = { run_id: id, node_id: 'b4', approved: true }
  await until(`run ${id} is approved`, async () => {
    const got = await at.coordinator().post('/api/approval', decision, { headers: { 'X-User-ID': 'boss' }, ms: 3000 }).catch(cut)
    assert.ok([0, 200, 404, 409, 503].includes(got.status), got.text)
    return [200, 409].includes(got.status)
  }, { ms: 60_000 * SLOW, every: 100 })
}

async function startRuns(at, random) {
  const ids = [], approvals = []
  const one = async (n) => {
    const id = await startRun(at, n)
    ids.push(id)
    if (n % 10 === 0) approvals.push(approve(at, id))
  }
  for (let n = 0; n < RUNS; n += BURST) { // So that a blow may find much under way.
    await sleep(random() * Math.max(10, 10_000 / RUNS) * BURST) // Five seconds of blows at least.
    await Promise.all(Array.from({ length: Math.min(BURST, RUNS - n) }, (_, i) => one(n + i)))
  }
  await Promise.all(approvals)
  return ids
}

async function listAll(server, status) {
  const ids = []
  for (let after = ''; after !== null;) {
    const page = (await server.get(`/api/v1/runs?limit=1000${status}${after && `&after=${after}`}`)).json()
    ids.push(...page.runs)
    after = page.next ?? null
  }
  return ids
}

async function historyOf(server, channel) {
  const events = []
  for (let since = 'begin', more = true; more;) {
    const page = (await server.get(`/api/v1/channels/${encodeURIComponent(channel)}/history?limit=1000&since=${encodeURIComponent(since)}`)).json()
    events.push(...page.events.map(({ data }) => data))
    more = page.more
    since = page.cursor
  }
  return events
}

function checkRun({ run_id: id, tag, status }, list) {
  const count = (type, node) => list.filter((e) => e.type === type && (!node || e.node_id === node)).length
  assert.equal(status, 'completed', id)
  assert.equal(list[0].type, 'workflow_started', id)
  assert.equal(list.at(-1).type, 'workflow_completed', id)
  assert.equal(list.at(-1).counter, 0, id)
  assert.equal(list.filter(({ type }) => TERMINAL.test(type)).length, 1, id)
  for (const node of NODES) {
    assert.equal(count('node_completed', node), 1, `${id} ${node}`)
    assert.deepEqual(list.filter((e) => e.type === 'node_started' && e.node_id === node).map((e) => e.attempt), node === 'b3' ? [1, 2] : [1], `${id} ${node}`)
  }
  assert.deepEqual(list.filter((e) => e.type === 'node_failed').map((e) => [e.node_id, e.will_retry]), [['b3', true]], id)
  for (const type of ['approval_requested', 'approval_decided']) assert.equal(count(type), tag === 'asks' ? 1 : 0, `${id} ${type}`)
  assert.equal(list.length, 18 + (tag === 'asks' ? 2 : 0), JSON.stringify(list))
}

function byRun(events) {
  const runs = new Map()
  for (const event of events) {
    if (!runs.has(event.run_id)) runs.set(event.run_id, [])
    runs.get(event.run_id).push(event)
  }
  return runs
}

async function main(t) {
  const random = seeded(SEED)
  const at = await house(t, random)
  const followers = Array.from({ length: USERS }, (_, i) => follow(t, at, `u${i}`))
  for (const [tag, body] of Object.entries(WORKFLOWS)) {
    await until(`${tag} is put`, async () => [200, 201].includes((await at.coordinator().request('PUT', `/api/v1/workflows/${tag}`, { body }).catch(cut)).status), { ms: 20_000 * SLOW })
  }
  const begin = performance.now()
  const ids = await startRuns(at, random)
  await at.stop()
  await until('nothing runs any more', async () => {
    const left = await listAll(at.coordinator(), '&status=running')
    // Of a client whose 201 was lost, who asked again: nobody knows that run.
    for (const run of left) if (run.tag === 'asks' && !ids.includes(run.run_id)) await approve(at, run.run_id)
    return left.length === 0
  }, { ms: 60_000 * SLOW, every: 100 })
  const seconds = (performance.now() - begin) / 1000
  await until('all is published', async () => (await at.coordinator().metrics()).value('fanout_flow_db_unpublished_runs') === 0, { ms: 60_000 * SLOW, every: 100 })
  const published_s = (performance.now() - begin) / 1000
  const runs = await listAll(at.coordinator(), '')
  for (const id of ids) assert.ok(runs.some((run) => run.run_id === id), `${id} was answered 201 and is gone`)
  const stored = new Map()
  for (const run of runs) {
    const polled = (await at.coordinator().get(`/api/v1/runs/${run.run_id}/events`)).json()
    assert.equal((await at.coordinator().get(`/api/v1/runs/${run.run_id}`)).json().counter, 0)
    checkRun(run, polled.events)
    stored.set(run.run_id, polled.events)
  }
  let events = 0
  const resets = followers.flatMap(({ states }) => states).filter((state) => state !== 'live' && state !== 'replayed')
  for (let i = 0; i < USERS; i++) {
    const mine = runs.filter((run) => run.user === `u${i}`)
    const wanted = mine.reduce((sum, run) => sum + stored.get(run.run_id).length, 0)
    events += wanted
    const published = byRun(await historyOf(at.gateway(), `user:u${i}`))
    for (const { run_id: id } of mine) assert.deepEqual(published.get(id), stored.get(id), `run ${id}: what the history of its user has is what happened, in order and once`)
    for (const { run_id: id } of mine) assert.deepEqual(await historyOf(at.gateway(), `run:${id}`), stored.get(id), `run ${id}: and so has the history of the run`)
    if (DURABILITY === 'async') continue // A socket may have seen what a crash took from the history, and is told `reset`.
    await until(`u${i} has heard all`, () => followers[i].heard.length >= wanted)
    const heard = byRun(followers[i].heard)
    for (const { run_id: id } of mine) assert.deepEqual(heard.get(id), stored.get(id), `run ${id}: what a socket with cursors saw is what happened, in order and once`)
  }
  if (DURABILITY === 'sync') assert.deepEqual(resets, [])
  console.log(JSON.stringify({ mode: MODE, durability: DURABILITY, seed: SEED, answered: ids.length, runs: runs.length, events, kills: at.kills(), resets: resets.length, seconds: Math.round(seconds), published: Math.round(published_s) }))
}

await scoped(main).then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
