// The client library and a coordinator: fanout-client against `fanout demo`. Proves:
// - a run is started, followed to its end, and a result read
// - one that asks is approved and rejected; one that waits is cancelled, once
// - refusals are FanoutErrors with the coordinator's code; names beyond Latin-1 arrive as they are
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import WebSocket from 'ws'
import { connect } from '../../clients/js/dist/index.js'
import { shared, startServer, test, until } from '../support/harness.mjs'

const ASK = {
  nodes: [{ id: 'review', type: 'hitl', config: { message: 'well?' } }, { id: 'after', type: 'transform' }],
  edges: [{ from: 'review', to: 'after' }]
}
const WAIT = { nodes: [{ id: 'sleep', type: 'delay', config: { ms: 600_000 } }], edges: [] }

describe('the client library and workflows', () => {
  const at = shared(async (t) => {
    const server = await startServer(t, { role: 'demo' })
    for (const [tag, body] of Object.entries({ ask: ASK, wait: WAIT })) {
      assert.equal((await server.request('PUT', `/api/v1/workflows/${tag}`, { body })).status, 201)
    }
    return { server }
  })
  function client(t) {
    const made = connect(`http://127.0.0.1:${at.server.port}`, { WebSocket })
    t.after(() => made.close())
    return made
  }
  async function asked(made, username) {
    const { runId } = await made.startRun('ask', { username })
    const run = made.followRun(runId, { username, pollAtStart: true })
    await until('it asks', () => run.events.some(({ type }) => type === 'approval_requested'))
    return { runId, run }
  }

  test('a run from its start to its result', async (t) => {
    const made = client(t)
    const { runId, tag, status, createdMs } = await made.startRun('flight-search', { username: 'ann', inputs: { city: 'NYC' } })
    assert.deepEqual([tag, status, typeof createdMs], ['flight-search', 'running', 'number'])
    const run = made.followRun(runId, { username: 'ann', pollAtStart: true })
    assert.equal(await run.finished, 'completed')
    const [, first] = run.events.filter(({ type }) => type === 'node_completed')
    assert.match(JSON.stringify(await made.result(first.result_ref)), /NYC/)
  })

  test('approved, with data for the nodes behind', async (t) => {
    const made = client(t)
    const { runId, run } = await asked(made, 'Zoë 用户')
    assert.equal(await made.approve(runId, 'review', { username: 'José', comment: 'fine', data: { limit: 5 } }), 'approved')
    assert.equal(await run.finished, 'completed')
    const { result_ref } = run.events.find(({ type, node_id }) => type === 'node_completed' && node_id === 'review')
    assert.deepEqual(await made.result(result_ref), { approved: true, by: 'José', comment: 'fine', data: { limit: 5 } })
    await assert.rejects(made.approve(runId, 'review', { username: 'bob' }), { code: 'already_decided', status: 409 })
  })

  test('rejected', async (t) => {
    const made = client(t)
    const { runId, run } = await asked(made, 'rejecter')
    assert.equal(await made.approve(runId, 'review', { username: 'bob', approved: false }), 'rejected')
    assert.equal(await run.finished, 'failed')
  })

  test('cancelled, once', async (t) => {
    const made = client(t)
    const { runId } = await made.startRun('wait', { username: 'canceller' })
    const run = made.followRun(runId, { username: 'canceller', pollAtStart: true })
    await made.cancelRun(runId, { username: 'canceller' })
    assert.equal(await run.finished, 'cancelled')
    await assert.rejects(made.cancelRun(runId, { username: 'canceller' }), { name: 'FanoutError', code: 'run_over', status: 409 })
  })

  test('refusals say what is wrong', async (t) => {
    const made = client(t)
    await assert.rejects(made.startRun('nothing', { username: 'x' }), { name: 'FanoutError', code: 'unknown_workflow', status: 404 })
    await assert.rejects(made.startRun('wait', { username: '' }), { status: 401 })
    await assert.rejects(made.startRun('wait', { username: 'x', inputs: 7 }), { code: 'bad_run', status: 400 })
    await assert.rejects(made.cancelRun('00000000-0000-7000-8000-000000000000', { username: 'x' }), { code: 'unknown_run', status: 404 })
    await assert.rejects(made.approve('no-run', 'no-node', { username: 'x' }), { code: 'unknown_approval', status: 404 })
    await assert.rejects(made.result(`sha256:${'0'.repeat(64)}`), { code: 'unknown_result', status: 404 })
  })
})
