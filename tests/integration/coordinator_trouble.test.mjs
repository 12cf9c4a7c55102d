// What is wrong with what the coordinator is given, with the sentence for each; docs/workflows.md "What happens when". Proves:
// - a malformed workflow is refused with all its faults, each with its place; run requests and approvals with what they lack
// - signals, tasks and requests nobody can read go to wf.dead with their reason, byte for byte; the run they name goes on
// - a result that is too large or not there fails its attempt; inputs that are too large are 413
// - the http node: refused, too late, 500 and then 200, redirects, too much, private addresses, headers that a template breaks
// - a worker that answers twice, late, or for a run that was cancelled changes nothing any more
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe } from 'node:test'
import { assertError, freePort, shared, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'

const as = (user) => ({ headers: { 'X-User-ID': user } })
const put = (server, tag, body) => server.request('PUT', `/api/v1/workflows/${tag}`, { body })
const events = async (server, id) => (await server.get(`/api/v1/runs/${id}/events`)).json()
const over = (server, id) => until(`run ${id} is over`, async () => {
  const got = await events(server, id)
  return got.status && got.status !== 'running' && got
}, { ms: 20_000 * SLOW })
const types = (list) => list.map(({ type, node_id: node }) => node ? `${type} ${node}` : type)
const node = (id, type, config = {}, rest = {}) => ({ id, type, config, ...rest })
async function start(server, tag, inputs = {}) {
  const reply = await server.post('/api/v1/runs', { tag, inputs }, as('u'))
  assert.equal(reply.status, 201, reply.text)
  return reply.json().run_id
}
/** Puts a workflow of one chain and runs it to its end. */
async function runOf(server, tag, nodes, inputs) {
  const reply = await put(server, tag, { nodes, edges: nodes.slice(1).map(({ id }, i) => ({ from: nodes[i].id, to: id })) })
  assert.ok([200, 201].includes(reply.status), reply.text)
  return over(server, await start(server, tag, inputs))
}
/** The error a run failed with, and that it failed once. */
function errorOf({ events: all, status }) {
  assert.equal(status, 'failed', JSON.stringify(all))
  assert.equal(all.filter(({ type }) => /^workflow_(completed|failed|cancelled)$/.test(type)).length, 1)
  assert.equal(all.at(-1).counter, 0)
  return all.at(-1).error
}

describe('what is put and asked for', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo', args: ['--flow-inputs-bytes', '64KiB', '--flow-result-bytes', '64KiB'] }) }))

  test('a workflow is refused with all that is wrong, each with its place', async () => {
    const reply = await put(at.server, 'bad', {
      nodes: [node('a', 'transform'), node('a', 'delay', { ms: -1 }), { id: 'b b', type: 'transform' }, { id: 'c', type: 'http', config: {} },
        node('d', 'transform', {}, { retry: { max_attempts: 0 } }), node('e', 'filter', { where: '/x ~ 1' }), node('f', 'transform'), node('g', 'transform')],
      edges: [{ from: 'a', to: 'x' }, { from: 'd', to: 'a', when: '/price <' }, { from: 'f', to: 'g' }, { from: 'g', to: 'f' }, { from: 'd', to: 'e', max_iterations: 0 }],
    })
    assertError(reply, 400, 'bad_workflow')
    const { faults, more } = reply.json()
    assert.equal(more, 0)
    for (const place of [/^nodes\[1\]\.id: "a" is nodes\[0\] already/, /^nodes\[2\]\.id: /, /^nodes\[4\]\.retry\.max_attempts: /, /^edges\[0\]\.to: there is no node "x"/, /^edges\[1\]\.when: /, /^edges\[4\]\.max_iterations: /]) {
      assert.ok(faults.some((fault) => place.test(fault)), `${place} in ${faults.join('\n')}`)
    }
    const second = (await put(at.server, 'bad', { nodes: [node('a', 'delay', { ms: -1 }), node('b', 'http'), node('f', 'transform'), node('g', 'filter', { where: '/x ~ 1' })], edges: [{ from: 'a', to: 'f' }, { from: 'f', to: 'g' }, { from: 'g', to: 'f' }] })).json().faults
    assert.ok(second?.length >= 3, JSON.stringify(second))
    for (const [body, code] of [['', 'bad_json'], ['{', 'bad_json'], ['[]', 'bad_workflow'], ['{"nodes":[],"edges":[]}', 'bad_workflow'], ['['.repeat(100_000), 'bad_json'], [Buffer.from('{"nodes":"\xff"}', 'latin1'), 'bad_json']]) {
      assertError(await put(at.server, 'bad', body), 400, code)
    }
    const many = await put(at.server, 'bad', { nodes: Array.from({ length: 900 }, () => ({ id: '' })), edges: [] })
    assertError(many, 400, 'bad_workflow')
    assert.ok(many.json().faults.length < 900 && many.json().more > 0)
    assertError(await put(at.server, 'a%20b', { nodes: [node('a', 'transform')], edges: [] }), 400, 'bad_tag')
    assertError(await at.server.get('/api/v1/workflows/bad'), 404, 'unknown_workflow')
  })

  test('a request to start says what it lacks', async () => {
    const cases = [
      ['{"tag":', 400, 'bad_json', /line 1/], ['[]', 400, 'bad_json', /an object is expected/], ['{}', 400, 'bad_run', /^tag: /], ['{"tag":7}', 400, 'bad_run', /^tag: /],
      ['{"tag":"x","inputs":[]}', 400, 'bad_run', /^inputs: an object/], ['{"tag":"x\\u0000y"}', 400, 'bad_run', /^tag: /], [`{"tag":"${'x'.repeat(129)}"}`, 400, 'bad_run', /^tag: /],
      ['{"tag":"nobody"}', 404, 'unknown_workflow', /"nobody"/], [`{"tag":"x","inputs":${'['.repeat(70)}${']'.repeat(70)}}`, 400, 'bad_json', /64 levels/],
    ]
    for (const [body, status, code, text] of cases) assert.match(assertError(await at.server.post('/api/v1/runs', body, as('u')), status, code).message, text)
    const large = await at.server.post('/api/v1/runs', { tag: 'flight-search', inputs: { x: 'x'.repeat(70_000) } }, as('u'))
    assert.match(assertError(large, 413, 'too_large').message, /^inputs: 700\d\d bytes; at most 65536 \(flow\.inputs_bytes\)/)
  })

  test('an approval says what it lacks, and whom it does not find', async () => {
    const base = { run_id: 'r', node_id: 'n', approved: true }
    const cases = [
      ['{', 400, 'bad_json', /./], ['[]', 400, 'bad_approval', /object/], [{ ...base, run_id: 7 }, 400, 'bad_approval', /^run_id: /], [{ ...base, node_id: '' }, 400, 'bad_approval', /^node_id: /],
      [{ ...base, approved: 'yes' }, 400, 'bad_approval', /^approved: true or false/], [{ ...base, comment: 7 }, 400, 'bad_approval', /^comment: /], [{ ...base, comment: 'x'.repeat(4001) }, 400, 'bad_approval', /^comment: /],
      [base, 404, 'unknown_approval', /./], [{ ...base, run_id: 'x'.repeat(65) }, 404, 'unknown_approval', /./], [{ ...base, node_id: 'x'.repeat(65) }, 404, 'unknown_approval', /./], [{ ...base, run_id: 'r:n\u0000' }, 404, 'unknown_approval', /./],
    ]
    for (const [body, status, code, text] of cases) assert.match(assertError(await at.server.post('/api/approval', body, as('u')), status, code).message, text)
  })

  test('a decision is one, however many ask at once; nobody is asked any more when the run is over', async () => {
    await put(at.server, 'ask', { nodes: [node('a', 'hitl', { message: 'ok?' })], edges: [] })
    const id = await start(at.server, 'ask')
    await until('it asks', async () => types((await events(at.server, id)).events).includes('approval_requested a'))
    assertError(await at.server.post('/api/approval', { run_id: id, node_id: 'b', approved: true }, as('u')), 404, 'unknown_approval')
    const replies = await Promise.all(Array.from({ length: 8 }, (_, i) => at.server.post('/api/approval', { run_id: id, node_id: 'a', approved: i % 2 === 0 }, as(`u${i}`))))
    assert.deepEqual(replies.map(({ status }) => status).sort(), [200, ...Array(7).fill(409)])
    assert.equal((await over(at.server, id)).events.filter(({ type }) => type === 'approval_decided').length, 1)
    const second = await start(at.server, 'ask')
    await until('it asks', async () => types((await events(at.server, second)).events).includes('approval_requested a'))
    assert.equal((await at.server.post(`/api/v1/runs/${second}/cancel`, '', as('u'))).status, 200)
    assertError(await at.server.post(`/api/v1/runs/${second}/cancel`, '', as('u')), 409, 'run_over')
    const late = await at.server.post('/api/approval', { run_id: second, node_id: 'a', approved: true }, as('u'))
    assert.ok([404, 409].includes(late.status), late.text)
  })

  test('a transform that makes too much fails with the bound in its sentence', async () => {
    const all = '{{/inputs/x}}'.repeat(8)
    assert.match(errorOf(await runOf(at.server, 'big', [node('a', 'transform', { output: all })], { x: 'x'.repeat(20_000) })), /65536|64 KiB|too (large|many)|bytes/)
    assert.match(errorOf(await runOf(at.server, 'missing', [node('a', 'transform', { output: '{{/inputs/none}}' })])), /\/inputs\/none/)
  })

  test('types of outside workers need Redis: 409, and nothing is started', async () => {
    assert.ok((await put(at.server, 'outside', { nodes: [node('a', 'function')], edges: [] })).status < 300)
    assert.match(assertError(await at.server.post('/api/v1/runs', { tag: 'outside' }, as('u')), 409, 'needs_workers').message, /"function".*--redis-host/)
    assert.deepEqual((await at.server.get('/api/v1/runs?tag=outside')).json().runs, [])
  })
})

describe('the http node', () => {
  const at = shared(async (t) => {
    const turns = new Map(), seen = []
    const peer = createServer((request, response) => {
      seen.push({ url: request.url, headers: request.headers })
      const turn = (turns.get(request.url) ?? 0) + 1
      turns.set(request.url, turn)
      if (request.url === '/hang') return
      if (request.url === '/flaky') response.writeHead(turn === 1 ? 500 : 200).end(turn === 1 ? 'not now' : 'fine')
      else if (request.url === '/moved') response.writeHead(302, { location: '/there' }).end('elsewhere')
      else if (request.url === '/huge') response.end(Buffer.alloc(200_000, 'x'))
      else if (request.url === '/endless') { const more = () => response.write(Buffer.alloc(65536, 'y'), (error) => error || response.destroyed || setImmediate(more)); more() }
      else if (request.url === '/deep') response.writeHead(200, { 'content-type': 'application/json' }).end('['.repeat(5000) + ']'.repeat(5000))
      else if (request.url === '/bytes') response.end(Buffer.from([0xff, 0xfe, 0]))
      else if (request.url === '/cut') { response.writeHead(200, { 'content-length': 100 }); response.write('half'); setTimeout(() => response.destroy(), 50) }
      else response.end('ok')
    })
    await new Promise((done) => peer.listen(0, '127.0.0.1', done))
    t.after(() => { peer.closeAllConnections(); return new Promise((done) => peer.close(done)) })
    const url = `http://127.0.0.1:${peer.address().port}`
    return { url, seen, turns, open: await startServer(t, { role: 'demo', args: ['--flow-http-private'] }), shut: await startServer(t, { role: 'demo' }) }
  })
  const run = (tag, config, rest, inputs) => runOf(at.open, tag, [node('call', 'http', config, rest)], inputs)
  const result = async ({ events: all }) => (await at.open.get(`/api/v1/results/${all.findLast((e) => e.type === 'node_completed').result_ref}`)).json()

  test('nobody listens, or nobody answers: a sentence', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}/`
    assert.match(errorOf(await run('refused', { url: nobody }, { retry: { max_attempts: 2, backoff_ms: 10 } })), /127\.0\.0\.1.*connection refused/)
    assert.match(errorOf(await run('late', { url: `${at.url}/hang` }, { timeout_ms: 300 })), /time|late|answer/)
    assert.match(errorOf(await run('cut', { url: `${at.url}/cut` })), /127\.0\.0\.1/)
  })

  test('500 and then 200: it is tried again, and the node is told of both', async () => {
    const got = await run('flaky', { url: `${at.url}/flaky` }, { retry: { max_attempts: 3, backoff_ms: 10 } })
    assert.equal(got.status, 'completed')
    assert.deepEqual(types(got.events).slice(1, 5), ['node_started call', 'node_failed call', 'node_started call', 'node_completed call'])
    assert.match(got.events[2].error, /status 500.*not now/)
    assert.deepEqual((await result(got)).body, 'fine')
    assert.equal(at.turns.get('/flaky'), 2)
  })

  test('a redirect is an answer, and not followed', async () => {
    assert.match(errorOf(await run('moved', { url: `${at.url}/moved` })), /status 302/)
    const got = await run('moved', { url: `${at.url}/moved`, expect: [302] })
    assert.deepEqual([(await result(got)).status, (await result(got)).headers.location], [302, '/there'])
    assert.ok(!at.seen.some(({ url }) => url === '/there'))
  })

  test('an answer that is too large is cut off, however long it goes on', async () => {
    assert.match(errorOf(await run('huge', { url: `${at.url}/huge`, max_bytes: 100_000 })), /larger than its max_bytes/)
    assert.match(errorOf(await run('endless', { url: `${at.url}/endless`, max_bytes: 100_000 })), /larger than its max_bytes/)
  })

  test('what is no JSON, or too deep, is text; what is no text is base64', async () => {
    assert.equal((await result(await run('deep', { url: `${at.url}/deep` }))).body, '['.repeat(5000) + ']'.repeat(5000))
    assert.deepEqual((await result(await run('bytes', { url: `${at.url}/bytes` }))).body, { base64: '//4A' })
  })

  test('a private address is refused, and not tried again; with --flow-http-private it is not', async () => {
    const config = { url: `${at.url}/private` }
    const got = await runOf(at.shut, 'private', [node('call', 'http', config, { retry: { max_attempts: 5, backoff_ms: 10 } })])
    assert.match(errorOf(got), /private|flow\.http_private/)
    assert.equal(got.events.filter(({ type }) => type === 'node_started').length, 1)
    for (const url of ['http://localhost:1/', 'http://[::1]:1/', 'http://169.254.169.254/latest', 'http://0x7f000001/', 'http://127.1/', 'http://[::ffff:127.0.0.1]/']) {
      assert.match(errorOf(await runOf(at.shut, 'private', [node('call', 'http', { url })])), /private|flow\.http_private/, url)
    }
    assert.ok(!at.seen.some((one) => one.url === '/private'))
    assert.equal((await run('private', config)).status, 'completed')
  })

  test('a template cannot break out of a header or of the address', async () => {
    const call = (inputs) => run('inject', { url: `${at.url}/inject/{{/inputs/path}}`, headers: { 'X-Note': '{{/inputs/note}}' } }, {}, inputs)
    assert.match(errorOf(await call({ path: 'a', note: 'x\r\nX-Evil: 1' })), /headers\.X-Note: .*control character/)
    assert.match(errorOf(await call({ path: 'a', note: 'x\u0000y' })), /headers\.X-Note: .*control character/)
    const got = await call({ path: 'a b\r\nX-Evil: 1/../?q#f', note: 'fine' })
    const { url, headers } = at.seen.findLast((one) => one.url.startsWith('/inject')) ?? {}
    if (got.status === 'completed') assert.deepEqual([headers['x-evil'], /[\r\n ?#]/.test(url)], [undefined, false], url)
    assert.ok(!at.seen.some((one) => 'x-evil' in one.headers))
    assert.match(errorOf(await run('elsewhere', { url: '{{/inputs/url}}' }, {}, { url: 'file:///etc/passwd' })), /http:\/\/ or https:\/\//)
    assert.match(errorOf(await run('elsewhere', { url: '{{/inputs/url}}' }, {}, { url: 'http://user:pw@127.0.0.1/' })), /credentials/)
  })
})

describe('what comes over Redis', () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const coordinator = await startServer(t, { role: 'coordinator', redis, args: ['--flow-result-bytes', '64KiB'] })
    const client = await redis.client(t)
    assert.equal((await put(coordinator, 'work', { nodes: [node('first', 'transform'), node('job', 'function')], edges: [{ from: 'first', to: 'job' }] })).status, 201)
    assert.equal((await put(coordinator, 'again', { nodes: [node('job', 'function', {}, { retry: { max_attempts: 2, backoff_ms: 1 }, timeout_ms: 400 })], edges: [] })).status, 201)
    assert.equal((await put(coordinator, 'plain', { nodes: [node('a', 'transform')], edges: [] })).status, 201)
    return { redis, coordinator, client }
  })
  /** The next token of a function, taken off its stream. */
  const take = (what) => until(`${what} is to be done`, async () => {
    const [entry] = await at.client.xRange('wf.tasks.function', '-', '+')
    if (!entry) return false
    await at.client.xDel('wf.tasks.function', entry.id)
    return JSON.parse(entry.message.token)
  })
  const about = (token) => ({ version: '1.0', job_id: token.id, run_id: token.run_id, node_id: token.to_node })
  const say = (...bodies) => at.client.rPush('completion_signals', bodies.map((body) => typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)))
  const quiet = () => until('all signals are dealt with', async () => {
    const lists = await at.client.keys('completion_signals*')
    return lists.length === 0
  })
  const buried = async () => (await at.client.xRange('wf.dead', '-', '+')).map(({ message }) => message)
  async function begin(tag = 'work') {
    const id = await start(at.coordinator, tag)
    return { id, token: await take(tag) }
  }
  /** It still answers to a good signal. */
  async function goesOn({ id, token }) {
    await say({ ...about(token), status: 'completed', result_data: { fine: true } })
    assert.equal((await over(at.coordinator, id)).status, 'completed')
  }

  test('signals that nobody can read are buried with their reason, and the run goes on', async () => {
    const run = await begin(), good = { ...about(run.token), status: 'completed', result_data: 1 }
    const mega = 'm'.repeat(1 << 20)
    const cases = [
      ['nonsense', /line 1, column \d+: invalid token/], ['', /empty/], ['[]', /no JSON object/], ['null', /no JSON object/], [{ ...good, job_id: undefined }, /^job_id: /], [{ ...good, job_id: 7 }, /^job_id: /], [{ ...good, job_id: mega }, /^job_id: a string of 1 to/],
      [{ ...good, run_id: undefined }, /^run_id: /], [{ ...good, run_id: mega }, /^run_id: /], [{ ...good, run_id: 'nobody' }, /there is no such run/], [{ ...good, run_id: `${run.id}\u0000` }, /^run_id: /],
      [{ ...good, node_id: 'first' }, /no such token/], [{ ...good, node_id: mega }, /^node_id: /], [{ ...good, job_id: `${run.id}:job:1:9` }, /no such token/], [{ ...good, job_id: 'who:knows' }, /no such token/],
      [{ ...good, status: undefined }, /^status: /], [{ ...good, status: 'done' }, /^status: "done"; completed, failed or progress/], [{ ...good, status: mega }, /^status: /], [{ ...good, metadata: 'x' }, /^metadata: an object/],
      [{ ...good, result_ref: 'sha256:zz' }, /^result_ref: sha256: and 64/], [{ ...good, result_ref: { a: 1 } }, /^result_ref: /], [{ ...good, result_ref: mega }, /^result_ref: /],
      [`${'['.repeat(200_000)}`, /64 levels/], [`{"a":${'{"a":'.repeat(100)}1${'}'.repeat(101)}`, /64 levels/], [Buffer.from('{"job_id":"\xff\xfe"}', 'latin1'), /unable to decode byte 0xff/], [Buffer.from([0, 1, 2]), /NUL/],
      ['{"job_id":"a","job_id":"b"}', /duplicate/], [JSON.stringify(good).slice(0, -1), /./],
    ]
    for (const [body, reason] of cases) {
      await at.client.del('wf.dead')
      await say(body)
      const dead = await until(`${String(JSON.stringify(body)).slice(0, 80)} is buried`, async () => (await buried()).length && buried())
      assert.equal(dead.length, 1)
      assert.match(dead[0].reason, reason)
      assert.equal(dead[0].kind, 'signal')
      if (!Buffer.isBuffer(body)) assert.equal(dead[0].body, typeof body === 'string' ? body : JSON.stringify(body))
    }
    await quiet()
    assert.deepEqual(types((await events(at.coordinator, run.id)).events), ['workflow_started', 'node_started first', 'node_completed first', 'node_started job'])
    await goesOn(run)
    await at.client.del('wf.dead')
  })

  test('signals among a thousand bad ones are found, and none is left', async () => {
    const runs = [await begin(), await begin(), await begin()]
    const bad = Array.from({ length: 1000 }, (_, i) => i % 3 ? `{"job_id":${i}` : JSON.stringify({ job_id: `x:${i}`, run_id: `no-${i}`, node_id: 'n', status: 'completed' }))
    await say(...bad.slice(0, 500), { ...about(runs[0].token), status: 'completed' }, ...bad.slice(500), { ...about(runs[1].token), status: 'failed', metadata: { error: 'as told' } })
    assert.equal((await over(at.coordinator, runs[0].id)).status, 'completed')
    assert.equal(errorOf(await over(at.coordinator, runs[1].id)), 'as told')
    await goesOn(runs[2])
    await quiet()
    await until('all are buried', async () => await at.client.xLen('wf.dead') === 1000)
    await at.client.del('wf.dead')
  })

  test('a result that is too large, or not where it should be, fails the attempt', async () => {
    const fails = async (body, reason) => {
      const run = await begin()
      await say({ ...about(run.token), status: 'completed', ...body })
      assert.match(errorOf(await over(at.coordinator, run.id)), reason)
    }
    await fails({ result_data: 'x'.repeat(70_000) }, /its result has 70002 bytes; at most 65536 \(flow\.result_bytes\)/)
    const ref = `sha256:${'a'.repeat(64)}`
    await fails({ result_ref: ref }, /^sha256:a+ is not in the store/)
    await at.client.set(`cas:${ref}`, JSON.stringify('x'.repeat(70_000)))
    await fails({ result_ref: ref }, /^sha256:a+ is larger than the 65536 bytes/)
    await at.client.set(`cas:${ref}`, 'no json')
    await fails({ result_ref: ref }, /^sha256:a+ is no JSON/)
    await at.client.del(`cas:${ref}`)
    await at.client.hSet(`cas:${ref}`, 'a', 'hash')
    const run = await begin()
    await say({ ...about(run.token), status: 'completed', result_ref: ref })
    assert.match(errorOf(await over(at.coordinator, run.id)), /^sha256:a+ is /)
    await at.client.del(`cas:${ref}`)
    assert.equal(await at.client.xLen('wf.dead'), 0)
  })

  test('odd words of a worker are taken as they can be', async () => {
    const run = await begin()
    const progress = (metadata) => ({ ...about(run.token), status: 'progress', metadata })
    await say(progress({ percent: 'many' }), progress({ percent: 1e308, message: 7 }), progress({ percent: -5 }), progress({ message: 'm'.repeat(1 << 20) }), progress(null), { ...about(run.token), status: 'progress' })
    await say({ ...about(run.token), status: 'failed', metadata: { error: '\u0007' + 'e'.repeat(1 << 20) } })
    const got = await over(at.coordinator, run.id)
    assert.ok(Buffer.byteLength(errorOf(got)) <= 1100)
    for (const event of got.events) assert.ok(JSON.stringify(event).length < 17_000, JSON.stringify(event).slice(0, 200))
    assert.equal(await at.client.xLen('wf.dead'), 0)
  })

  test('tasks that nobody can read, or that are in the wrong stream, are buried', async () => {
    const run = await begin()
    const text = (value) => ({ token: JSON.stringify(value) })
    const cases = [
      [{ other: 'field' }, /./], [{ token: '' }, /empty/], [{ token: 'x' }, /line 1/], [text([]), /no JSON object/], [text({ run_id: run.id }), /^id: /], [text({ id: 'a:b:1:1' }), /^run_id: /], [text({ id: 7, run_id: 7 }), /^id: /],
      [text({ id: 'nobody:a:1:1', run_id: 'nobody' }), /no such run/], [text({ id: `${run.id}:job:1:7`, run_id: run.id }), /no such token/], [text(run.token), /worked on by others/], [{ token: '['.repeat(100_000) }, /64 levels/],
    ]
    for (const [fields, reason] of cases) {
      await at.client.del('wf.dead')
      await at.client.xAdd('wf.tasks.transform', '*', fields)
      const dead = await until(`${JSON.stringify(fields).slice(0, 80)} is buried`, async () => (await buried()).length && buried())
      assert.match(dead[0].reason, reason)
      assert.equal(dead[0].kind, 'task')
    }
    assert.equal(await at.client.xLen('wf.tasks.transform'), 0)
    await goesOn(run)
    await at.client.del('wf.dead')
  })

  test('requests to run are buried, or start one run, however often they come', async () => {
    const good = { run_id: 'req-1', tag: 'plain', username: 'u', inputs: {}, created_at: 1 }
    const text = (value) => ({ request: JSON.stringify(value) })
    const cases = [
      [{ other: 'x' }, /./], [{ request: '{' }, /line 1/], [text([]), /object/], [text({ ...good, run_id: undefined }), /^run_id: /], [text({ ...good, run_id: 'a b' }), /^run_id: /], [text({ ...good, run_id: 'x'.repeat(65) }), /^run_id: /],
      [text({ ...good, username: undefined }), /^username: /], [text({ ...good, username: '' }), /name for a channel/], [text({ ...good, username: 'a\u0000b' }), /name for a channel/], [text({ ...good, username: 'u'.repeat(256) }), /name for a channel/],
      [text({ ...good, tag: 7 }), /^tag: /], [text({ ...good, tag: 'none-such' }), /there is no workflow "none-such"/], [text({ ...good, tag: 'plain\u0000x' }), /^tag: /], [text({ ...good, inputs: 'x' }), /^inputs: /],
      [text({ ...good, artifact_id: `sha256:${'b'.repeat(64)}` }), /artifact_id: it is not in the store/], [text({ ...good, inputs: { x: 'x'.repeat(2 << 20) } }), /^inputs: \d+ bytes; at most/],
    ]
    for (const [fields, reason] of cases) {
      await at.client.del('wf.dead')
      await at.client.xAdd('wf.run.requests', '*', fields)
      const dead = await until(`${JSON.stringify(fields).slice(0, 80)} is buried`, async () => (await buried()).length && buried())
      assert.match(dead[0].reason, reason)
      assert.equal(dead[0].kind, 'request')
    }
    assertError(await at.coordinator.get('/api/v1/runs/req-1'), 404)
    await at.client.del('wf.dead')
    for (let i = 0; i < 5; i++) await at.client.xAdd('wf.run.requests', '*', text({ ...good, inputs: { i } }))
    const got = await over(at.coordinator, 'req-1')
    await until('all requests are dealt with', async () => (await at.client.xPending('wf.run.requests', 'run_executors')).pending === 0 && await at.client.xLen('wf.run.requests') === 0)
    assert.deepEqual(types((await events(at.coordinator, 'req-1')).events), types(got.events))
    assert.equal(got.events.length, 4)
    assert.equal(await at.client.xLen('wf.dead'), 0)
  })

  test('a worker that answers twice, late, or when the run was cancelled changes nothing any more', async () => {
    const twice = await begin()
    await say(...Array(5).fill({ ...about(twice.token), status: 'completed', result_data: 1 }), { ...about(twice.token), status: 'failed' }, { ...about(twice.token), status: 'progress', metadata: { percent: 1 } })
    const got = await over(at.coordinator, twice.id)
    assert.equal(got.status, 'completed')

    const late = await begin('again') // It times out, and is tried again; the first one answers then.
    const second = await take('the second attempt')
    assert.notEqual(second.id, late.token.id)
    await say({ ...about(late.token), status: 'completed', result_data: 'late' }, { ...about(second), status: 'completed', result_data: 'second' })
    const { events: all } = await over(at.coordinator, late.id)
    assert.deepEqual(types(all), ['workflow_started', 'node_started job', 'node_failed job', 'node_started job', 'node_completed job', 'workflow_completed'])
    assert.equal((await at.coordinator.get(`/api/v1/results/${all[4].result_ref}`)).json(), 'second')

    const cancelled = await begin()
    assert.equal((await at.coordinator.post(`/api/v1/runs/${cancelled.id}/cancel`, '', as('u'))).status, 200)
    await say({ ...about(cancelled.token), status: 'completed', result_data: 1 }, { ...about(cancelled.token), status: 'progress', metadata: { percent: 9 } })
    await quiet()
    assert.equal((await events(at.coordinator, cancelled.id)).events.at(-1).type, 'workflow_cancelled')
    assert.equal((await events(at.coordinator, cancelled.id)).events.length, 5)
    assert.deepEqual((await events(at.coordinator, twice.id)).events, got.events)
    assert.equal(await at.client.xLen('wf.dead'), 0, 'late is not wrong')
    assert.equal(await at.redis.cli('GET', `counter:${cancelled.id}`), '0')
  })
})
