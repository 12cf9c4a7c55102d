// What an operator uses, design.md "Endpoints" and wire.md "Connections". Proves:
// - /ready is 200 once and 503 at once when the broker is lost; HEAD works on all of them
// - /metrics is Prometheus text to the letter, with types, help, base units and a latency histogram
// - /api/v1/connections: one exact row a connection, paging, sort, filter; DELETE 204 → close 1008, 404
// - DELETE of unknown ids, bad parameters: a status and a sentence
// - SIGHUP reloads the log level; each broadcast is logged at debug, no payload ever; json logs parse
// - connects and losses of the broker are info or above; unix sockets; systemd's notify and activation
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { assertError, connect, freePort, readyBecomes, shared, startRedis, startServer, tempDir, test, until } from '../support/harness.mjs'

const rows = async (server, query = '') => {
  const reply = await server.get(`/api/v1/connections${query}`)
  assert.equal(reply.status, 200, reply.text)
  return reply.json()
}

describe('health and metrics', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('/ready, /health, /healthz, /metrics, /admin/stats answer GET and HEAD', async () => {
    for (const path of ['/ready', '/health', '/healthz', '/metrics', '/admin/stats']) {
      const get = await at.server.get(path)
      const head = await at.server.request('HEAD', path)
      assert.deepEqual([get.status, head.status], [200, 200], path)
      assert.equal(head.body.length, 0)
      assert.equal(head.headers['content-type'], get.headers['content-type'])
      assertError(await at.server.post(path, 'x'), 405)
    }
  })

  test('/metrics is Prometheus text to the letter', async (t) => {
    const client = await connect(t, at.server, '?username=metrics')
    await at.server.publish('user:metrics', { a: 1 })
    await client.waitFrames(1)
    const reply = await at.server.get('/metrics')
    assert.match(reply.headers['content-type'], /^text\/plain; version=0\.0\.4/)
    const metrics = await at.server.metrics()
    for (const plain of ['rooms', 'clients', 'dropped_messages']) assert.ok(metrics.has(plain), plain)
    assert.ok(metrics.has('fanout_connections'))
    for (const sample of metrics.samples) {
      const family = sample.name.replace(/_(bucket|sum|count)$/, '')
      assert.ok(metrics.types.has(sample.name) || metrics.types.has(family), `no TYPE for ${sample.name}`)
      assert.ok(metrics.helps.has(sample.name) || metrics.helps.has(family), `no HELP for ${sample.name}`)
      if (!['rooms', 'clients', 'dropped_messages'].includes(sample.name)) assert.match(sample.name, /^(fanout|process)_/)
      if (metrics.types.get(sample.name) === 'counter' && sample.name !== 'dropped_messages') assert.match(sample.name, /_total$/)
      assert.doesNotMatch(sample.name, /_(ms|us|ns|milliseconds|kb|kib|mb)(_|$)/, 'base units')
    }
    assert.equal(metrics.types.get('fanout_publish_to_write_seconds'), 'histogram')
    await until('the delivery is in the histogram', async () => (await at.server.metrics()).value('fanout_publish_to_write_seconds_count') >= 1)
  })

  test('metrics follow connections up and down', async (t) => {
    const before = (await at.server.metrics()).value('fanout_connections')
    const clients = await Promise.all([1, 2, 3].map((i) => connect(t, at.server, `?username=c${i}`)))
    await until('3 more', async () => (await at.server.metrics()).value('fanout_connections') >= before + 3)
    for (const client of clients) client.socket.terminate()
    await until('3 fewer', async () => (await at.server.metrics()).value('fanout_connections') <= before)
  })
})

describe('connections', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('a row has exactly what wire.md lists, and it is true', async (t) => {
    const client = await connect(t, at.server, '?username=row%40example.com')
    for (let i = 0; i < 3; i++) await at.server.publish('user:row@example.com', i)
    await client.waitFrames(3)
    const row = await until('three deliveries in its row', async () =>
      (await rows(at.server, '?user=row%40example.com')).connections.find((r) => r.delivered === 3))
    assert.equal(typeof row.id, 'string')
    assert.equal(row.user, 'row@example.com')
    assert.deepEqual(row.channels, ['user:row@example.com'])
    assert.equal(row.transport, 'ws')
    assert.match(row.address, /^127\.0\.0\.1(:\d+)?$/)
    assert.ok(Math.abs(row.since - Date.now() / 1000) < 60, `since ${row.since} in Unix seconds`)
    assert.deepEqual([row.queued_messages, row.queued_bytes, row.dropped.slow], [0, 0, 0])
  })

  test('several channels are all listed', async (t) => {
    await connect(t, at.server, '?channel=a:1&channel=a:2')
    const { connections } = await until('it is listed', async () => { // The 101 comes before home has answered for both.
      const found = await rows(at.server, '?channel=a:2')
      return found.connections[0]?.channels.length === 2 && found
    })
    assert.equal(connections.length, 1)
    assert.deepEqual([...connections[0].channels].sort(), ['a:1', 'a:2'])
  })

  test('limit, next and after page through every connection once', async (t) => {
    await Promise.all(Array.from({ length: 25 }, () => connect(t, at.server, '?room=page')))
    const ids = []
    let after = null
    for (let page = 0; page < 10; page++) {
      const body = await rows(at.server, `?channel=room:page&limit=10${after === null ? '' : `&after=${encodeURIComponent(after)}`}`)
      assert.ok(body.connections.length <= 10)
      ids.push(...body.connections.map((r) => r.id))
      after = body.next
      if (after === null) break
    }
    assert.equal(after, null)
    assert.deepEqual([ids.length, new Set(ids).size], [25, 25])
  })

  test('filters by user, channel and address; a filter nobody meets is an empty list', async (t) => {
    await connect(t, at.server, '?username=fil')
    await connect(t, at.server, '?room=fil')
    assert.deepEqual((await rows(at.server, '?user=fil')).connections.map((r) => r.channels[0]), ['user:fil'])
    assert.deepEqual((await rows(at.server, '?channel=room:fil')).connections.length, 1)
    assert.ok((await rows(at.server, '?address=127.0.0.1')).connections.length >= 2)
    for (const none of ['?user=nobody', '?channel=room:none', '?address=10.9.8.7']) {
      assert.deepEqual(await rows(at.server, none), { connections: [], next: null })
    }
  })

  test('sort=age is oldest first; sort=queued and sort=dropped are worst first', async (t) => {
    for (let i = 0; i < 3; i++) await connect(t, at.server, '?room=sorted')
    for (const sort of ['age', 'queued', 'dropped']) {
      const { connections } = await rows(at.server, `?channel=room:sorted&sort=${sort}`)
      assert.equal(connections.length, 3)
    }
    const ages = (await rows(at.server, '?sort=age')).connections.map((r) => r.since)
    assert.deepEqual(ages, [...ages].sort((a, b) => a - b))
  })

  test('bad parameters are 400 with a sentence', async () => {
    for (const query of ['?limit=0', '?limit=x', '?limit=-1', '?sort=name']) {
      assertError(await at.server.get(`/api/v1/connections${query}`), 400)
    }
  })

  test('DELETE cuts one off with 1008 and no other; again it is 404', async (t) => {
    const [one, two] = [await connect(t, at.server, '?username=cut1'), await connect(t, at.server, '?username=cut2')]
    const [row] = (await rows(at.server, '?user=cut1')).connections
    const reply = await at.server.delete(`/api/v1/connections/${encodeURIComponent(row.id)}`)
    assert.equal(reply.status, 204)
    assert.equal(reply.body.length, 0)
    assert.equal((await one.waitClosed()).code, 1008)
    await until('a second DELETE is 404', async () => (await at.server.delete(`/api/v1/connections/${encodeURIComponent(row.id)}`)).status === 404)
    assert.equal(two.closed, null)
    for (const id of ['x', '0', '99999999999999999999', '%00', 'a-b-c', row.id + '0']) {
      assertError(await at.server.delete(`/api/v1/connections/${id}`), 404)
    }
    await at.server.publish('user:cut2', 1)
    await two.waitFrames(1)
  })
})

describe('max_connections', () => {
  test('one too many gets 503, and a place that is given back is taken again', async (t) => {
    const server = await startServer(t, { args: ['--max-connections', '4'] })
    const clients = []
    await until('the limit is reached', async () => {
      try { clients.push(await connect(t, server, '?username=x')); return false } catch (error) { return /503|ECONNRESET|socket hang up/.test(error.message) }
    })
    assert.ok(clients.length >= 3 && clients.length <= 4, `${clients.length} got in`)
    for (const path of ['/health', '/healthz', '/ready', '/metrics']) {
      for (let i = 0; i < 40; i++) {
        const reply = await server.get(path)
        assert.equal(reply.status, 200, `${path}: ${reply.text}`)
        assert.equal(reply.headers.connection, 'close')
      }
    }
    assertError(await server.get('/admin/stats'), 503)
    await clients[0].close()
    await until('one more gets in', async () => { try { return await connect(t, server, '?username=y') } catch { return null } })
  })
})

describe('logs', () => {
  test('SIGHUP reloads the log level; each broadcast is at debug; no payload ever', async (t) => {
    const file = join(tempDir(t, 'conf'), 'fanout.yaml')
    writeFileSync(file, 'log:\n  level: info\n')
    const server = await startServer(t, { args: ['--config', file] })
    const client = await connect(t, server, '?username=logged')
    await server.publish('user:logged', { secret: 'payload-one' })
    await client.waitFrames(1)
    assert.doesNotMatch(server.output, /level=debug/)
    writeFileSync(file, 'log:\n  level: debug\n')
    server.signal('SIGHUP')
    await until('a broadcast is logged', async () => {
      await server.publish('user:logged', { secret: 'payload-two' })
      return server.lines.some((line) => /level=debug/.test(line) && /user:logged/.test(line))
    })
    assert.doesNotMatch(server.output, /payload-/)
    assert.equal(client.closed, null, 'a reload cuts nobody off')
  })

  test('a reload with a broken file changes nothing and says what is wrong', async (t) => {
    const file = join(tempDir(t, 'conf'), 'fanout.yaml')
    writeFileSync(file, 'log:\n  level: info\n')
    const server = await startServer(t, { args: ['--config', file] })
    writeFileSync(file, 'log:\n  levle: debug\n')
    server.signal('SIGHUP')
    await server.waitLine(/fanout\.yaml:2.*levle/)
    assert.equal((await server.get('/ready')).status, 200)
  })

  test('logfmt by default: level and ev on each line', async (t) => {
    const server = await startServer(t)
    const lines = server.lines.filter((line) => /level=/.test(line))
    assert.ok(lines.length > 0)
    for (const line of lines) assert.match(line, /\blevel=(debug|info|warn|error)\b.*\bev=/)
  })

  test('--log-format json: every line is one JSON object with a level', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--log-format', 'json', '--log-level', 'debug'] })
    const client = await connect(t, server, `?username=${encodeURIComponent('q"\\\n\u0001é')}`).catch(() => null)
    await client?.close()
    await redis.kill9()
    await readyBecomes(server, 503, 3000)
    assert.ok(server.lines.length > 0)
    for (const line of server.lines) assert.ok(JSON.parse(line).level, line)
  })

  test('the broker: connected at info, lost at warn or error, repeats summed and not one line a try', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--log-level', 'info'] })
    assert.ok(server.lines.some((line) => /level=info/.test(line) && /redis/i.test(line)))
    await redis.kill9()
    await readyBecomes(server, 503, 3000)
    await until('a line says so', () => server.lines.some((line) => /level=(warn|error)/.test(line) && /redis/i.test(line)))
    const quiet = performance.now() + 3000
    await until('three seconds without Redis have passed', () => performance.now() > quiet)
    const loud = server.lines.filter((line) => /level=(warn|error)/.test(line))
    assert.ok(loud.length <= 6, loud.join('\n'))
  })
})

describe('listeners', () => {
  test('a unix socket serves HTTP and WebSocket, and is gone after the exit', async (t) => {
    const path = join(tempDir(t, 'sock'), 'fanout.sock')
    const server = await startServer(t, { listen: false, socketPath: path, args: ['--listen', `unix:${path}`] })
    assert.equal((await server.get('/health')).text, 'OK')
    server.path = (query) => `ws+unix:${path}:/ws${query}`
    const client = await connect(t, server, '?username=unix')
    await server.publish('user:unix', 1)
    await client.waitFrames(1)
    await server.stop()
    assert.equal(existsSync(path), false)
  })

  test('a port that is taken is one clear sentence and a status that is not 0', async (t) => {
    const port = await freePort()
    const { createServer } = await import('node:net')
    const holder = createServer().listen({ port, host: '127.0.0.1' })
    t.after(() => holder.close())
    const server = await startServer(t, { port, ready: false }).catch((error) => error)
    assert.ok(server instanceof Error)
    assert.match(server.message, new RegExp(`${port}`))
    assert.match(server.message, /in use|taken|listens there already/i)
  })

  const PYTHON_NOTIFY = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\\n", " "), flush=True)
`
  test('systemd: READY=1 on NOTIFY_SOCKET once it is ready, STOPPING=1 on SIGTERM', async (t) => {
    const path = join(tempDir(t, 'notify'), 'n.sock')
    const heard = []
    const listener = spawn('python3', ['-u', '-c', PYTHON_NOTIFY, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => listener.kill('SIGKILL'))
    listener.stdout.setEncoding('utf8').on('data', (text) => heard.push(text))
    await until('the notify socket is there', () => heard.join('').includes('bound'))
    const server = await startServer(t, { env: { NOTIFY_SOCKET: path } })
    await until('READY=1', () => heard.join('').includes('READY=1'))
    await server.stop()
    await until('STOPPING=1', () => heard.join('').includes('STOPPING=1'))
  })

  const PYTHON_ACTIVATE = `
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(64)
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
if s.fileno() != 3: s.close()
os.environ["LISTEN_FDS"] = "1"; os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
`
  test('systemd: a socket handed over as descriptor 3 is served', async (t) => {
    const port = await freePort()
    const server = await startServer(t, { listen: false, port, prefix: ['python3', '-c', PYTHON_ACTIVATE, String(port)] })
    const client = await connect(t, server, '?username=activated')
    await server.publish('user:activated', 1)
    await client.waitFrames(1)
  })
})
