// One run of the coordinator's chaos on Redis, as a program: node flow_chaos_run.mjs SEED RUNS
//
// Two coordinators and two outside workers are killed with -9 and restarted at random, one coordinator is paused at times, every
// tenth signal comes twice, some run requests come twice. tests/integration/coordinator_chaos says what it proves. Prints figures as JSON.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { seeded } from './fault_proxy.mjs'
import { freePort, scoped, sleep, SLOW, startProcess, startRedis, startServer, until } from './harness.mjs'

const [SEED, RUNS] = process.argv.slice(2).map(Number)
const WORKER = fileURLToPath(new URL('./flow_worker.mjs', import.meta.url))
const TERMINAL = /^workflow_(completed|failed|cancelled)$/
const BRANCHES = ['b1', 'b2', 'b3', 'b4', 'b5']
const WORKFLOW = {
  nodes: [
    { id: 'a', type: 'transform', config: { output: { n: '{{/inputs/n}}' } } },
    ...BRANCHES.map((id, i) => i < 3 ? { id, type: 'function', config: {} } : { id, type: 'transform', config: { output: { [id]: '{{/payload/n}}' } } }),
    { id: 'z', type: 'aggregate', config: {} },
  ],
  edges: [...BRANCHES.map((to) => ({ from: 'a', to })), ...BRANCHES.map((from) => ({ from, to: 'z' }))],
}

/** Two that are always running again a moment after they were killed. */
async function crowd(t, redis, random) {
  const said = [] // By those who are gone: what went wrong.
  const kills = { coordinators: 0, workers: 0, pauses: 0 }
  const ports = [await freePort(), await freePort()]
  const coordinator = (i) => startServer(t, {
    role: 'coordinator', port: ports[i], redis, ready: false, // One keeps its name over a restart, the other is somebody new.
    args: ['--flow-retention', '1h', ...(i === 0 ? ['--flow-name', 'steady'] : [])],
  })
  let serial = 0
  const worker = (i) => startProcess(t, `worker ${i}`, process.execPath, [WORKER, redis.port, 'function', `w${i}-${serial++}`].map(String), { env: process.env })
  const coordinators = [await coordinator(0), await coordinator(1)], workers = [worker(0), worker(1)]
  let going = true
  const blows = (async () => {
    while (going) {
      await sleep(300 + random() * 1500 * SLOW)
      const i = random() < 0.5 ? 0 : 1, dice = random()
      if (!going) break
      if (dice < 0.15) {
        coordinators[i].signal('SIGSTOP')
        await sleep(random() * 3000)
        coordinators[i].signal('SIGCONT')
        kills.pauses++
      } else if (dice < 0.6) {
        coordinators[i].expectCode = null
        coordinators[i].signal('SIGKILL')
        await coordinators[i].exited
        coordinators[i].checkOutput()
        said.push(...coordinators[i].lines.filter((line) => /level=(warn|error)/.test(line) && !/listen.backlog/.test(line)))
        await sleep(random() * 300)
        coordinators[i] = await coordinator(i)
        kills.coordinators++
      } else {
        workers[i].signal('SIGKILL')
        await workers[i].exited
        workers[i] = worker(i)
        kills.workers++
      }
    }
  })()
  return { coordinators, kills, said, async stop() { going = false; await blows } }
}

/** Half are asked for by HTTP, half by the stream; some of the latter twice. */
async function startRuns(client, coordinators, random) {
  const asked = []
  for (let n = 0; n < RUNS; n++) {
    await sleep(random() * Math.max(30, 30_000 / RUNS)) // Ten seconds of blows at least.
    if (n % 2) {
      const run_id = `chaos-${SEED}-${n}`
      const request = JSON.stringify({ run_id, tag: 'chaos', username: `u${n % 20}`, inputs: { n }, created_at: Date.now() / 1000 })
      for (let times = random() < 0.1 ? 2 : 1; times; times--) await client.xAdd('wf.run.requests', '*', { request })
      asked.push(run_id)
    } else {
      const reply = await until(`run ${n} is taken`, async () => {
        const one = coordinators[random() < 0.5 ? 0 : 1]
        const got = await one.post('/api/v1/runs', { tag: 'chaos', inputs: { n } }, { headers: { 'X-User-ID': `u${n % 20}` }, ms: 5000 }).catch((error) => error)
        return got.status === 201 && got
      }, { ms: 60_000 * SLOW, every: 50 })
      asked.push(reply.json().run_id)
    }
  }
  return asked
}

function checkRun(id, stored, heard) {
  const types = stored.map((text) => JSON.parse(text))
  assert.deepEqual(heard, stored, `run ${id}: what was published is what is stored, in its order and once`)
  assert.equal(types[0].type, 'workflow_started', id)
  assert.equal(types.at(-1).type, 'workflow_completed', id)
  assert.equal(types.filter(({ type }) => TERMINAL.test(type)).length, 1, `run ${id} ends once`)
  assert.equal(types.at(-1).counter, 0)
  for (const node of ['a', ...BRANCHES, 'z']) {
    for (const type of ['node_started', 'node_completed']) {
      assert.equal(types.filter((e) => e.type === type && e.node_id === node).length, 1, `run ${id}: ${type} of ${node} once: ${stored.join('\n')}`)
    }
  }
  const progress = types.filter(({ type }) => type === 'node_progress').map((e) => e.node_id)
  assert.equal(new Set(progress).size, progress.length, `run ${id}: progress is told once`)
  assert.equal(types.filter((e) => e.type === 'node_completed').at(-1).counter, 0)
}

/** Where everything stands, of runs that do not end. */
async function standing(redis) {
  const [run] = (await redis.cli('ZRANGE', 'wf.runs.running', 0, 0)).split('\n')
  const ask = [['ZCARD', 'wf.runs.running'], ['LLEN', 'completion_signals'], ['ZRANGE', 'wf.coordinators', 0, -1], ['ZRANGE', 'wf.timers', 0, 5],
    ...['function', 'transform', 'aggregate'].flatMap((type) => [['XLEN', `wf.tasks.${type}`], ['XPENDING', `wf.tasks.${type}`, `${type}_workers`], ['XINFO', 'GROUPS', `wf.tasks.${type}`]]),
    ['XPENDING', 'wf.run.requests', 'run_executors'], ['XRANGE', 'wf.dead', '-', '+', 'COUNT', 3], ['HGETALL', `run:${run}`], ['HGETALL', `nodes:${run}`], ['HGETALL', `entries:${run}`], ['SMEMBERS', `applied:${run}`]]
  const lines = []
  for (const words of ask) lines.push(`${words.join(' ')}: ${(await redis.cli(...words)).replaceAll('\n', ' | ')}`)
  return `\n${lines.join('\n')}`
}

/** Nothing is left but what retention keeps, and that will go by itself. */
async function checkLeft(client) {
  for (const type of ['function', 'transform', 'aggregate']) {
    assert.equal(await client.xLen(`wf.tasks.${type}`), 0, `wf.tasks.${type} is empty`)
    assert.equal((await client.xPending(`wf.tasks.${type}`, `${type}_workers`)).pending, 0)
  }
  assert.equal((await client.xPending('wf.run.requests', 'run_executors')).pending, 0)
  assert.equal(await client.zCard('wf.timers'), 0)
  assert.equal(await client.zCard('wf.runs.running'), 0)
  assert.equal(await client.xLen('wf.dead'), 0, JSON.stringify(await client.xRange('wf.dead', '-', '+', { COUNT: 3 })))
  for await (const keys of client.scanIterator({ COUNT: 1000 })) {
    for (const key of keys) {
      assert.ok(!/^(pending_tokens|completion_signals|hitl|entries)/.test(key), `${key} is left`)
      if (/^counter:/.test(key)) assert.equal(await client.get(key), '0', key)
      if (/^(run|nodes|ir|counter|applied|context|events|cas):/.test(key)) assert.ok(await client.ttl(key) > 0, `${key} goes by itself`)
    }
  }
}

async function main(t) {
  const random = seeded(SEED)
  const redis = await startRedis(t)
  const client = await redis.client(t), listener = await redis.client(t)
  const heard = new Map()
  await listener.pSubscribe('workflow:events:*', (message) => {
    const id = JSON.parse(message).run_id
    if (!heard.has(id)) heard.set(id, [])
    heard.get(id).push(message)
  })
  const { coordinators, kills, said, stop } = await crowd(t, redis, random)
  await until('the workflow is taken', async () => [200, 201].includes((await coordinators[0].request('PUT', '/api/v1/workflows/chaos', { body: WORKFLOW }).catch(() => ({}))).status), { ms: 20_000 * SLOW })
  const begin = performance.now()
  const asked = await startRuns(client, coordinators, random)
  const left = async () => RUNS && (await client.zCard('wf.runs.running')) + (asked.length > await client.zCard('wf.runs') ? 1 : 0)
  // The blows go on while most of it is under way; whoever was killed last is found dead after its lease.
  await until('most runs are over', async () => await left() < RUNS / 5, { ms: (20_000 + RUNS * 50) * SLOW, every: 100 }).catch(() => {})
  const underBlows = asked.length - await left()
  await stop()
  await until('all runs are over', async () => await left() === 0, { ms: 60_000 * SLOW, every: 100 })
    .catch(async (error) => { error.message += await standing(redis) + `\n${said.slice(0, 20).join('\n')}`; throw error })
  const seconds = (performance.now() - begin) / 1000
  await until('signals are dealt with', async () => await client.lLen('completion_signals') === 0, { ms: 20_000 * SLOW })
  await sleep(1500)
  const runs = await client.zRange('wf.runs', 0, -1)
  for (const id of asked) assert.ok(runs.includes(id), `run ${id} was taken, and is there`)
  for (const id of runs) checkRun(id, await client.lRange(`events:${id}`, 0, -1), heard.get(id))
  for (const one of coordinators) await one.stop()
  await checkLeft(client)
  console.log(JSON.stringify({ seed: SEED, runs: runs.length, underBlows, seconds: Math.round(seconds), ...kills }))
}

await scoped(main).then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
