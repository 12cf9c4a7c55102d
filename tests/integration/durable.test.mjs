// Durable history, wire.md "Cursor", engine.md 3. Proves on a real disk with kill -9:
// - what was acknowledged is there after kill -9, in order, once; cursors go on; an epoch does not change
// - durability sync: not one acknowledged event is missing; async with ?ack=durable: the same
// - a number that a crash took never means another event: a cursor that was lost is reset
// - idempotency keys outlive a restart; rooms do not; --data none keeps nothing; a second process is refused
// - a directory that is not usable is a sentence; what is fed by Redis begins an epoch and keeps what it had
// - GET /api/v1/runs/{id}/events: complete, in order, as published, since, limit, ETag/304, status, 404
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { assertError, connect, fanout, shared, startRedis, startServer, tempDir, test, until } from '../support/harness.mjs'

const epoch = (cursor) => cursor.split(':')[0]
const events = (client) => client.json.filter((m) => 'data' in m)
const history = async (server, channel, query = '') => (await server.get(`/api/v1/channels/${channel}/history${query}`)).json()

async function house(t, args = []) {
  const data = join(tempDir(t, 'data'), 'history')
  const start = (more = {}) => startServer(t, { args: ['--data', data, ...args], ...more })
  return { data, start, server: await start() }
}

async function killed(server) { server.expectCode = null; server.signal('SIGKILL'); await server.exited }

/** A /var/lib of its own, where this machine lets root have one. */
function ownVarLib() {
  const mine = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /var/lib && exec "$@"', 'sh']
  return spawnSync(mine[0], [...mine.slice(1), 'true']).status === 0 ? mine : []
}

describe('durable history', () => {
  test('without --data it is where this platform keeps state, for root too', async (t) => {
    const home = tempDir(t, 'home')
    const root = process.getuid() === 0
    const server = await startServer(t, { env: { FANOUT_DATA: '', HOME: home }, prefix: root ? ownVarLib() : [] })
    const dir = root ? `/var/lib/fanout/${server.port}` : join(home, '.local/state/fanout', String(server.port))
    t.after(() => rmSync(dir, { recursive: true, force: true }))
    assert.match(server.output, new RegExp(`ev=store.open dir=${dir} `))
    assert.equal((await server.post('/api/v1/publish?ack=durable', { channel: 'user:a', data: 1 })).status, 200)
  })

  test('a user\'s events and cursors outlive kill -9; a room\'s do not', async (t) => {
    const { server, start } = await house(t)
    const cursors = []
    for (let i = 0; i < 20; i++) cursors.push((await server.publish('user:a', i)).cursor)
    await server.publish('room:a', 'gone')
    await until('the last is stored', async () => (await server.metrics()).value('fanout_store_records_total') >= 20)
    await killed(server)
    const again = await start()
    const client = await connect(t, again, `?channel=user:a&since=${cursors[4]}`)
    await client.waitFrames(16)
    assert.equal(client.json[0].state, 'replayed')
    await again.publish('user:a', 'after')
    await client.waitFrames(17)
    assert.deepEqual(events(client).map((m) => m.data), [...Array.from({ length: 15 }, (_, i) => i + 5), 'after'])
    assert.deepEqual(events(client).slice(0, 15).map((m) => m.cursor), cursors.slice(5))
    assert.equal(epoch(events(client).at(-1).cursor), epoch(cursors[0]), 'one epoch')
    assert.deepEqual((await history(again, 'room:a')).events, [])
    const live = await connect(t, again, `?channel=user:a&since=${events(client).at(-1).cursor}`)
    await live.waitFrames(1)
    assert.equal(live.json[0].state, 'live')
  })

  for (const [name, args, path] of [['sync', ['--namespace', 's:durability=sync,history_messages=100000,history_bytes=64MiB,history_age=1h'], ''],
    ['async with ack=durable', ['--namespace', 's:durability=async,history_messages=100000,history_bytes=64MiB,history_age=1h'], '?ack=durable']]) {
    test(`${name}: kill -9 in the middle of publishing, everything acknowledged is there, once and in order`, async (t) => {
      const { server, start } = await house(t, args)
      const acknowledged = []
      let going = true
      const publisher = async (p) => {
        for (let i = 0; going; i++) {
          try {
            const reply = await server.post(`/api/v1/channels/s:${p}${path}`, `{"p":${p},"i":${i}}`)
            if (reply.status === 200) acknowledged.push({ p, i, cursor: reply.json().results[0].cursor })
          } catch { return }
        }
      }
      const publishers = Array.from({ length: 16 }, (_, p) => publisher(p))
      await until('some hundred are acknowledged', () => acknowledged.length > 400, { ms: 30_000 })
      await killed(server)
      going = false
      await Promise.all(publishers)
      const again = await start()
      for (let p = 0; p < 16; p++) {
        const stored = []
        for (let since = 'begin', more = true; more;) {
          const page = await history(again, `s:${p}`, `?limit=1000&since=${since}`)
          stored.push(...page.events)
          more = page.more
          since = page.cursor
        }
        assert.deepEqual(stored.map((e) => e.data.i), stored.map((_, i) => i), `channel ${p} has a hole or a double`)
        for (const ack of acknowledged.filter((a) => a.p === p)) assert.equal(stored[ack.i]?.cursor, ack.cursor)
      }
    })
  }

  test('idempotency keys outlive a restart', async (t) => {
    const { server, start } = await house(t)
    const post = (s) => s.post('/api/v1/channels/user:k?ack=durable', '1', { headers: { 'Idempotency-Key': 'once' } })
    const first = (await post(server)).json()
    await killed(server)
    const again = await start()
    const second = (await post(again)).json()
    assert.equal(second.duplicate, true)
    assert.equal(second.results[0].cursor, first.results[0].cursor)
    assert.equal((await history(again, 'user:k')).events.length, 1)
  })

  test('--data none keeps nothing, and ack=durable says so', async (t) => {
    const server = await startServer(t, { args: ['--data', 'none'] })
    assertError(await server.post('/api/v1/channels/user:a?ack=durable', '1'), 400, 'not_durable')
    assertError(await server.post('/api/v1/channels/user:a?ack=maybe', '1'), 400, 'bad_query')
    assert.equal((await server.post('/api/v1/channels/user:a', '1')).status, 200)
  })

  test('a second process on the same directory is refused with a sentence; so is a file in its place', async (t) => {
    const { server, data } = await house(t)
    const second = await fanout(['serve', '--listen', '127.0.0.1:0', '--data', data])
    assert.notEqual(second.code, 0)
    assert.match(second.stderr, new RegExp(`start.failed.*${server.pid}`))
    const file = join(tempDir(t, 'file'), 'taken')
    writeFileSync(file, 'something else')
    const third = await fanout(['serve', '--listen', '127.0.0.1:0', '--data', file])
    assert.notEqual(third.code, 0)
    assert.match(third.stderr, /start.failed.*taken/)
  })

  test('fed by Redis: a restart begins an epoch, and what was kept can be read', async (t) => {
    const redis = await startRedis(t)
    const { server, start } = await (async () => {
      const data = join(tempDir(t, 'data'), 'history')
      const start = () => startServer(t, { redis, args: ['--data', data] })
      return { start, server: await start() }
    })()
    for (let i = 0; i < 3; i++) await redis.publish('workflow:events:u', `{"n":${i}}`)
    await until('they are stored', async () => (await server.metrics()).value('fanout_store_records_total') >= 3)
    const old = (await history(server, 'user:u')).cursor
    await killed(server)
    await redis.publish('workflow:events:u', '{"n":"missed"}')
    const again = await start()
    const client = await connect(t, again, `?channel=user:u&since=${old}`)
    await client.waitFrames(1)
    assert.equal(client.json[0].state, 'reset')
    assert.deepEqual((await history(again, 'user:u')).events.map((e) => e.data.n), [0, 1, 2])
    await redis.publish('workflow:events:u', '{"n":3}')
    await until('it has come', () => events(client).length)
    assert.deepEqual((await history(again, 'user:u')).events.map((e) => e.data.n), [0, 1, 2, 3])
  })
})

describe('runs', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))
  const publish = (channel, event) => at.server.publish(channel, event)
  const poll = (id, query = '', headers = {}) => at.server.get(`/api/v1/runs/${id}/events${query}`, { headers })

  test('whoever published it: complete, in order, as published; since, limit, ETag and 304', async () => {
    const sent = []
    for (let i = 0; i < 300; i++) {
      const event = { type: i ? 'node_completed' : 'workflow_started', run_id: 'r-1', i }
      sent.push(event)
      await publish(i % 2 ? 'user:a' : 'org:b', event)
    }
    await until('all are there', async () => (await poll('r-1')).json().events?.length === 300)
    const all = await poll('r-1')
    assert.deepEqual(all.json(), { run_id: 'r-1', events: sent, status: 'running' })
    assert.equal(all.headers.etag, '"r-1-300"')
    assert.deepEqual((await poll('r-1', '?since=298')).json().events, sent.slice(298))
    assert.deepEqual((await poll('r-1', '?since=10&limit=2')).json().events, sent.slice(10, 12))
    assert.deepEqual((await poll('r-1', '?since=1000')).json().events, [])
    const same = await poll('r-1', '?since=300', { 'If-None-Match': '"r-1-300"' })
    assert.equal(same.status, 304)
    assert.equal(same.headers.etag, '"r-1-300"')
    assert.equal(same.text.length, 0)
    await publish('user:a', { type: 'workflow_completed', run_id: 'r-1' })
    await until('the run is over', async () => (await poll('r-1', '?since=300')).json().status === 'completed')
    assert.equal((await poll('r-1', '', { 'If-None-Match': '"r-1-300"' })).status, 200)
  })

  test('status is that of the terminal event; an unknown run is 404', async () => {
    for (const [type, status] of [['workflow_failed', 'failed'], ['workflow_cancelled', 'cancelled'], ['workflow_completed', 'completed']]) {
      await publish('user:s', { type: 'workflow_started', run_id: status })
      await publish('user:s', { type, run_id: status })
      await until(`it is ${status}`, async () => (await poll(status)).json().status === status)
    }
    assertError(await poll('unknown'), 404, 'not_found')
    assertError(await poll('x'.repeat(200)), 404, 'not_found')
    assertError(await poll('s', '?since=-1'), 400, 'bad_query')
    assertError(await poll('s', '?limit=x'), 400, 'bad_query')
  })

  test('an event for several channels is one event of its run; a room client\'s message is none', async (t) => {
    await at.server.post('/api/v1/publish', { channels: ['user:x', 'user:y'], data: { run_id: 'multi' } })
    const member = await connect(t, at.server, '?room=r&client_id=c')
    await member.send(JSON.stringify({ run_id: 'room-run' }))
    await member.waitFrames(1)
    await until('it is there', async () => (await poll('multi')).status === 200)
    assert.equal((await poll('multi')).json().events.length, 1)
    assert.equal((await poll('room-run')).status, 404)
  })

  test('conditions: weak, in lists, in several fields, long ones; HEAD; a 304 has no body', async () => {
    await publish('user:c', { run_id: 'cond' })
    await until('it is there', async () => (await poll('cond')).status === 200)
    const hit = ['"cond-1"', 'W/"cond-1"', '"a", W/"cond-1"', '*', ['"a"', '"cond-1"'], `"${'x'.repeat(2000)}", "cond-1"`]
    for (const tag of hit) assert.equal((await poll('cond', '', { 'If-None-Match': tag })).status, 304, String(tag))
    for (const tag of ['"cond-2"', 'cond-1', '"xcond-1"', '']) assert.equal((await poll('cond', '', { 'If-None-Match': tag })).status, 200, tag)
    const head = await at.server.request('HEAD', '/api/v1/runs/cond/events')
    assert.deepEqual([head.status, head.headers.etag, head.body.length], [200, '"cond-1"', 0])
    assert.equal(head.headers['content-length'], String((await poll('cond')).body.length))
    assert.equal((await at.server.request('HEAD', '/api/v1/runs/none/events')).status, 404)
    await at.server.publishRaw('run:a"b', '{}')
    assert.equal((await poll('a%22b')).headers.etag, '"a%22b-1"')
  })

  test('since and limit may be as large as they like', async () => {
    await publish('user:c', { run_id: 'far' })
    await until('it is there', async () => (await poll('far')).status === 200)
    for (const far of ['4294967296', '9'.repeat(30)]) {
      assert.deepEqual((await poll('far', `?since=${far}`)).json().events, [])
      assert.equal((await poll('far', `?limit=${far}`)).json().events.length, 1)
    }
    for (const query of ['since=', 'since=1.5', 'limit=1e3', 'limit=%20']) assertError(await poll('far', `?${query}`), 400, 'bad_query')
  })

  test('byte for byte; what is no JSON is a string, so that the answer is JSON all the same', async () => {
    const odd = '{ "type" :\t"a",\r\n "run_id": "bytes", "n":1.0e3 , "u":"\\u0041" }'
    await at.server.publishRaw('user:c', odd)
    await until('it is there', async () => (await poll('bytes')).status === 200)
    assert.equal((await poll('bytes')).body.toString(), `{"run_id":"bytes","events":[${odd}],"status":"running"}\n`)
    for (const payload of ['hello "you"', '', Buffer.from([0xff, 1])]) await at.server.publishRaw('run:odd', payload)
    assert.deepEqual((await poll('odd')).json().events, ['hello "you"', '', '/wE='])
  })

  test('once history lets go of a run\'s first events, no ETag means two things', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'run:history_messages=100,durability=none'] })
    const get = (headers) => server.get('/api/v1/runs/long/events', { headers })
    const more = async (from, to) => { for (let i = from; i < to; i++) await server.publishRaw('run:long', `{"i":${i}}`) }
    await more(0, 99)
    assert.equal((await get()).headers.etag, '"long-99"')
    await more(99, 300)
    const before = await get()
    assert.equal((await get({ 'If-None-Match': before.headers.etag })).status, 304)
    await more(300, 500)
    const after = await get({ 'If-None-Match': before.headers.etag })
    assert.deepEqual(after.json().events.map(({ i }) => i), Array.from({ length: 100 }, (_, n) => 400 + n))
  })

  test('run:{id} can be followed like any channel', async (t) => {
    const client = await connect(t, at.server, '?channel=run:live&types=workflow_*')
    await client.waitFrames(1)
    await publish('user:l', { type: 'node_started', run_id: 'live' })
    await publish('user:l', { type: 'workflow_completed', run_id: 'live' })
    await client.waitFrames(2)
    assert.equal(client.json[1].data.type, 'workflow_completed')
  })
})

// Redis carries payloads alone, so a gateway cannot tell a repetition from a second event that says the same:
// whoever publishes the same twice on purpose must find it twice (docs/operations.md, "Runs").
test('over Redis an event for several channels is in its run once per channel, on every gateway alike', async (t) => {
  const redis = await startRedis(t)
  const gateways = [await startServer(t, { redis }), await startServer(t, { redis })]
  const publish = (body) => gateways[0].post('/api/v1/publish', body)
  assert.equal((await publish({ channels: ['user:x', 'user:y', 'room:z'], data: { run_id: 'multi' } })).status, 200)
  assert.equal((await publish({ channel: 'user:x', data: { run_id: 'single' } })).status, 200)
  for (const n of [1, 2]) assert.equal((await publish({ channel: 'user:x', data: { run_id: 'twice' } })).status, 200, `${n}`)
  for (const gateway of gateways) {
    const count = async (id) => (await gateway.get(`/api/v1/runs/${id}/events`)).json().events?.length
    await until('the last one is there', async () => await count('twice') === 2)
    assert.deepEqual([await count('multi'), await count('single')], [2, 1], 'a room\'s envelope names no run')
  }
})
