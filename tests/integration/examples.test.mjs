// examples/worker.py and examples/worker.js, run as they are against Redis and a coordinator. Proves:
// - each takes the tasks of its type, and the user sees its progress and its result
// - what a dead worker left is taken over and done once
// - a task that cannot be done fails with a reason, and the worker goes on
// - what is no token is taken off, and the worker goes on
// - the definitions in examples/workflows are ones that a coordinator takes
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createClient } from 'redis'
import { shared, startProcess, startRedis, startServer, test, until } from '../support/harness.mjs'

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url))
const MODULES = fileURLToPath(new URL('../node_modules', import.meta.url))

/** The Python that has Debian's redis module; another may come first in PATH. */
function python() {
  for (const name of ['python3', '/usr/bin/python3']) {
    try {
      execFileSync(name, ['-c', 'import redis'], { stdio: 'ignore' })
      return name
    } catch { /* the next one */ }
  }
  assert.fail('no python3 has the module redis; ./dev setup installs it')
}

const WORKERS = { 'worker.py': () => [python(), [`${EXAMPLES}worker.py`]], 'worker.js': () => [process.execPath, [`${EXAMPLES}worker.js`]] }

describe('the examples', () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { role: 'coordinator', redis })
    const db = createClient({ url: `redis://127.0.0.1:${redis.port}` })
    await db.connect()
    t.after(() => db.destroy())
    return { redis, server, db }
  })

  async function run(type, inputs = { city: 'NYC' }, first = { id: 'look', type }) {
    const tag = `with-${type}`
    const definition = {
      nodes: [...first.id === 'look' ? [] : [first], { id: 'look', type }, { id: 'tell', type: 'transform', config: { output: 'found {{/payload/found}}' } }],
      edges: [...first.id === 'look' ? [] : [{ from: first.id, to: 'look' }], { from: 'look', to: 'tell' }]
    }
    const stored = await at.server.request('PUT', `/api/v1/workflows/${tag}`, { body: definition })
    assert.ok(stored.status < 300, stored.text)
    const reply = await at.server.post('/api/v1/runs', { tag, inputs }, { headers: { 'x-user-id': 'ann' } })
    assert.equal(reply.status, 201, reply.text)
    return reply.json().run_id
  }
  const over = async (runId) => until('the run is over', async () => {
    const { events, status } = (await at.server.get(`/api/v1/runs/${runId}/events`)).json()
    return status !== 'running' && { events, status }
  }, { ms: 20_000 })
  const result = async (events, node) => {
    const { result_ref } = events.find((event) => event.type === 'node_completed' && event.node_id === node)
    return (await at.server.get(`/api/v1/results/${result_ref}`)).json()
  }

  for (const [file, command] of Object.entries(WORKERS)) {
    const types = { 'worker.py': 'search', 'worker.js': 'agent' }
    const type = types[file]
    const worker = (t) => {
      const [program, args] = command()
      return startProcess(t, file, program, [...args, type], { env: { ...process.env, NODE_PATH: MODULES, REDIS_PORT: String(at.redis.port), DEAD_AFTER_MS: '500' } })
    }

    test(`${file} does its tasks, and tells how far it is`, async (t) => {
      worker(t)
      const { events, status } = await over(await run(type))
      assert.equal(status, 'completed')
      assert.deepEqual(events.filter(({ node_id }) => node_id === 'look').map((event) => [event.type, event.percent]),
        [['node_started', undefined], ['node_progress', 50], ['node_completed', undefined]])
      assert.equal(await result(events, 'tell'), 'found ["NYC-1","NYC-2","NYC-3"]')
      await until('nothing is pending', async () => (await at.db.xPending(`wf.tasks.${type}`, `${type}_workers`)).pending === 0)
    })

    test(`${file} takes off what is no token, and goes on`, async (t) => {
      await at.db.xAdd(`wf.tasks.${type}`, '*', { nonsense: '1' })
      await at.db.xAdd(`wf.tasks.${type}`, '*', { token: 'no JSON' })
      worker(t)
      assert.equal((await over(await run(type))).status, 'completed')
      await until('nothing is pending', async () => (await at.db.xPending(`wf.tasks.${type}`, `${type}_workers`)).pending === 0)
      await at.db.xTrim(`wf.tasks.${type}`, 'MAXLEN', 0)
    })

    test(`${file} takes over what a dead worker left`, async (t) => {
      const runId = await run(type)
      await until('a worker has it, and dies of it', async () => await at.db.xReadGroup(`${type}_workers`, 'dead', { key: `wf.tasks.${type}`, id: '>' }, { COUNT: 1 }))
      worker(t)
      const { events, status } = await over(runId)
      assert.equal(status, 'completed')
      assert.equal(events.filter(({ type: one, node_id }) => one === 'node_completed' && node_id === 'look').length, 1)
    })

    test(`${file} says why a task cannot be done, and goes on`, async (t) => {
      worker(t)
      const bad = await over(await run(type, {}, { id: 'odd', type: 'transform', config: { output: null } }))
      assert.equal(bad.status, 'failed')
      const { error } = bad.events.find(({ type: one }) => one === 'node_failed')
      assert.match(error, /NoneType|null/)
      assert.equal((await over(await run(type))).status, 'completed')
    })
  }

  for (const file of readdirSync(`${EXAMPLES}workflows`).filter((name) => name.endsWith('.json'))) {
    test(`workflows/${file} is a definition, with inputs to start it with`, async () => {
      const definition = JSON.parse(readFileSync(`${EXAMPLES}workflows/${file}`, 'utf8'))
      const reply = await at.server.request('PUT', `/api/v1/workflows/${file.replace('.json', '')}`, { body: definition })
      assert.equal(reply.status, 201, reply.text)
      assert.ok(definition.description && definition.example_inputs, 'it says what it is, and what to start it with')
    })
  }
})
