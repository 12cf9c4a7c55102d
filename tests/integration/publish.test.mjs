// Publishing over HTTP, wire.md "Publish". Proves:
// - POST /api/v1/publish to one channel and to many: the payload is the exact source bytes of `data`
// - POST /api/v1/channels/{c}: the body is the payload, any bytes, empty too
// - results carry a cursor each, or an error each; idempotency keys in body and header answer once
// - bad bodies, channels and types are refused with a status and a sentence, and nothing is delivered
// - with Redis as broker it goes through Redis: envelope for rooms, bare payload for users, fanout:ch: else
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { assertError, connect, nothingBut, shared, startRedis, startServer, test, until } from '../support/harness.mjs'

const raw = (server, body) => server.post('/api/v1/publish', body, { headers: { 'content-type': 'application/json' } })

describe('HTTP publish, embedded broker', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))
  const user = (t, name) => connect(t, at.server, `?username=${name}`)

  test('one channel: 200, one result with a cursor, and the event is there', async (t) => {
    const client = await user(t, 'one')
    const reply = await at.server.post('/api/v1/publish', { channel: 'user:one', data: { hello: 'world' } })
    assert.equal(reply.status, 200)
    const body = reply.json()
    assert.equal(body.duplicate, false)
    assert.equal(body.results.length, 1)
    assert.equal(body.results[0].channel, 'user:one')
    assert.match(body.results[0].cursor, /^[a-z0-9]+:\d+$/)
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['{"hello":"world"}'])
  })

  test('the payload is the exact source bytes of data', async (t) => {
    const client = await user(t, 'exact')
    const payloads = ['{ "a":1.0,\n "b" : "\\u00e9" }', '"a string keeps its quotes"', '[ ]', 'null', '12345678901234567890', '{"data":{"channel":"no"}}', '"\\ud83d\\ude00"']
    for (const payload of payloads) assert.equal((await raw(at.server, `{"channel":"user:exact", "data": ${payload} , "x":1}`)).status, 200)
    assert.equal((await raw(at.server, '{"data":"first","channel":"user:exact"}')).status, 200)
    await client.waitFrames(payloads.length + 1)
    assert.deepEqual(client.texts, [...payloads, '"first"'])
  })

  test('many channels: a result each in the order asked, an event each', async (t) => {
    const names = ['m1', 'm2', 'm3']
    const clients = await Promise.all(names.map((n) => user(t, n)))
    const reply = await at.server.post('/api/v1/publish', { channels: names.map((n) => `user:${n}`), data: 7 })
    assert.equal(reply.status, 200)
    assert.deepEqual(reply.json().results.map((r) => r.channel), names.map((n) => `user:${n}`))
    for (const client of clients) {
      await client.waitFrames(1)
      assert.deepEqual(client.texts, ['7'])
    }
  })

  test('a body of 1 MiB costs the same with 100 channels as with one', async (t) => {
    const measure = async (count) => {
      const names = Array.from({ length: count }, (_, i) => `${' '.repeat(900_000 / count)}"user:pad-${i}"`)
      const times = []
      for (let i = 0; i < 5; i++) {
        const started = performance.now()
        const reply = await raw(at.server, `{"data":1,"channels":[${names.join(',')}]}`)
        times.push(performance.now() - started)
        assert.equal(reply.status, 200, reply.text)
        assert.equal(reply.json().results.length, count)
      }
      return Math.min(...times)
    }
    const one = await measure(1)
    const many = await measure(100)
    assert.ok(many < 6 * one + 5, `one: ${one} ms, 100: ${many} ms`)
  })

  for (const size of [400_000, 1_040_000]) {
    test(`${size} bytes for 100 channels: all of them have it, with listeners and without`, async (t) => {
      const server = await startServer(t, { args: ['--shards', '2'] })
      const channels = Array.from({ length: 100 }, (_, i) => `user:large-${i}`)
      const clients = await Promise.all([0, 1, 2, 3].map((i) => connect(t, server, `?username=large-${i}`)))
      const reply = await server.post('/api/v1/publish', { channels, data: 'x'.repeat(size) }, { ms: 30_000 })
      assert.equal(reply.status, 200, reply.text)
      assert.deepEqual(reply.json().results.filter((r) => r.error), [])
      assert.deepEqual(reply.json().results.map((r) => r.channel), channels)
      for (const client of clients) await client.waitFrames(1, 30_000)
      assert.deepEqual(clients.map((c) => c.texts.map((text) => text.length)), clients.map(() => [size + 2]))
    })
  }

  test('a raw body is the payload, byte for byte: text, JSON, binary, empty', async (t) => {
    const client = await user(t, 'raw')
    const bodies = ['text', ' {"a": 1}\n', Buffer.from([0, 255, 128]), '', 'x'.repeat(100_000)].map((b) => Buffer.from(b))
    for (const body of bodies) {
      const result = await at.server.publishRaw('user:raw', body)
      assert.equal(result.results[0].channel, 'user:raw')
    }
    await client.waitFrames(bodies.length)
    assert.deepEqual(client.frames, bodies.map((data, i) => ({ data, binary: i === 2 })))
  })

  test('the channel in the path may be written with or without percent encoding', async (t) => {
    const client = await user(t, encodeURIComponent('bob@example.com'))
    for (const path of ['user:bob@example.com', 'user%3Abob%40example.com']) {
      assert.equal((await at.server.post(`/api/v1/channels/${path}`, 'x')).status, 200)
    }
    await client.waitFrames(2)
  })

  test('an idempotency key in the body delivers once and repeats the answer', async (t) => {
    const client = await user(t, 'idem')
    const body = { channel: 'user:idem', data: 1, idempotency_key: 'k-1' }
    const [first, again] = [(await at.server.post('/api/v1/publish', body)).json(), (await at.server.post('/api/v1/publish', body)).json()]
    assert.equal(first.duplicate, false)
    assert.equal(again.duplicate, true)
    assert.deepEqual(again.results, first.results)
    await nothingBut(client, 1, '2', () => at.server.publish('user:idem', 2, { idempotency_key: 'k-2' }))
  })

  test('the header Idempotency-Key does the same for a raw body', async (t) => {
    const client = await user(t, 'idemraw')
    const first = await at.server.publishRaw('user:idemraw', 'a', { 'idempotency-key': 'h-1' })
    const again = await at.server.publishRaw('user:idemraw', 'a', { 'idempotency-key': 'h-1' })
    assert.deepEqual([first.duplicate, again.duplicate], [false, true])
    assert.deepEqual(again.results, first.results)
    await nothingBut(client, 1, 'b', () => at.server.publishRaw('user:idemraw', 'b'))
  })

  test('twenty at once with one key deliver once', async (t) => {
    const client = await user(t, 'idemrace')
    const replies = await Promise.all(Array.from({ length: 20 }, () => at.server.post('/api/v1/publish', { channel: 'user:idemrace', data: 1, idempotency_key: 'race' })))
    for (const reply of replies) assert.equal(reply.status, 200, reply.text)
    assert.equal(replies.filter((r) => r.json().duplicate === false).length, 1)
    await nothingBut(client, 1, '2', () => at.server.publish('user:idemrace', 2))
  })

  test('many channels, one of them bad: the good ones are served or the whole is refused, never half in silence', async (t) => {
    const client = await user(t, 'half')
    const reply = await at.server.post('/api/v1/publish', { channels: ['user:half', 'BAD'], data: 1 })
    if (reply.status === 200) {
      const [good, bad] = reply.json().results
      assert.ok(good.cursor && !good.error)
      assert.ok(bad.cursor === null && bad.error)
      await client.waitFrames(1)
    } else {
      assertError(reply, 400)
      await nothingBut(client, 0, '2', () => at.server.publish('user:half', 2))
    }
  })

  test('a publish that cannot be understood is 400 with a sentence, and nothing is delivered', async (t) => {
    const client = await user(t, 'bad')
    for (const body of ['', '{', 'null', '[]', '"x"', '{}', '{"channel":"user:bad"}', '{"data":1}', '{"channel":"bad","data":1}', '{"channel":"USER:bad","data":1}',
      '{"channel":"user:","data":1}', '{"channel":1,"data":1}', '{"channels":[],"data":1}', '{"channels":"user:bad","data":1}', '{"channels":[1],"data":1}',
      '{"channel":"user:bad","channels":["user:bad"],"data":1}', '{"channel":"user:bad","data":1,}', '{"channel":"user:bad","data":01}', '{"channel":"user:bad","data":1} x',
      '{"channel":"user:bad","data":1,"idempotency_key":5}', `{"channel":"user:${'x'.repeat(256)}","data":1}`, '{"channel":"user:bad","data":"\xff"}', '{"channel":"user:bad","data":1']) {
      assertError(await raw(at.server, Buffer.from(body, 'latin1')), 400)
    }
    await nothingBut(client, 0, '"end"', () => at.server.publish('user:bad', 'end'))
  })

  test('the channel that is at fault is named by its place', async () => {
    const reply = await at.server.post('/api/v1/publish', { channels: ['user:a', 'user:b', 'bad name'], data: 1 })
    assertError(reply, 400)
    assert.match(reply.json().error.message, /^channels\[2\]: /)
  })

  test('deeply nested data is taken or refused, and kills nobody', async () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    const reply = await raw(at.server, `{"channel":"user:deep","data":${deep}}`)
    assert.ok([200, 400, 413].includes(reply.status), reply.text)
    assert.equal((await at.server.get('/health')).status, 200)
  })

  test('GET there is 405 with Allow', async () => {
    for (const path of ['/api/v1/publish', '/api/v1/channels/user:x']) {
      const reply = await at.server.get(path)
      assertError(reply, 405)
      assert.match(reply.headers.allow, /POST/)
    }
  })
})

describe('HTTP publish with Redis as broker', () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const [one, two] = await Promise.all([startServer(t, { redis }), startServer(t, { redis })])
    const seen = []
    const watcher = await redis.client(t)
    await watcher.pSubscribe('*', (message, channel) => seen.push({ channel: channel.toString(), message }), true)
    return { redis, one, two, of: (channel) => seen.filter((s) => s.channel === channel).map((s) => s.message) }
  })

  test('a user channel is the bare payload on workflow:events:U, and reaches both gateways once', async (t) => {
    const clients = [await connect(t, at.one, '?username=pat'), await connect(t, at.two, '?username=pat')]
    assert.equal((await raw(at.one, '{"channel":"user:pat","data":{ "a": 1 }}')).status, 200)
    const bytes = Buffer.from([1, 2, 255])
    await at.two.publishRaw('user:pat', bytes)
    for (const client of clients) {
      await client.waitFrames(2)
      assert.deepEqual(client.frames, [{ data: Buffer.from('{ "a": 1 }'), binary: false }, { data: bytes, binary: true }])
    }
    await until('Redis saw both', () => at.of('workflow:events:pat').length === 2)
    assert.deepEqual(at.of('workflow:events:pat'), [Buffer.from('{ "a": 1 }'), bytes])
    await at.one.publish('user:pat', 'end')
    for (const client of clients) await nothingBut(client, 2, '"end"', () => {})
  })

  test('a room channel is the envelope of contracts.md', async (t) => {
    const clients = [await connect(t, at.one, '?room=lab'), await connect(t, at.two, '?room=lab')]
    await at.one.publishRaw('room:lab', 'plain text')
    await at.one.publishRaw('room:lab', Buffer.from([0, 254]))
    for (const client of clients) {
      await client.waitFrames(2)
      assert.deepEqual(client.frames, [{ data: Buffer.from('plain text'), binary: false }, { data: Buffer.from([0, 254]), binary: true }])
    }
    await until('Redis saw both', () => at.of('room:lab').length === 2)
    const [text, binary] = at.of('room:lab').map((m) => JSON.parse(m))
    assert.deepEqual(text, { room: 'lab', from: '', data: 'plain text' })
    assert.deepEqual(binary, { room: 'lab', from: '', data: 'AP4=', enc: 'base64' })
  })

  for (const shards of [1, 2]) {
    test(`a duplicate waits for what became of the first one (${shards} shards)`, async (t) => {
      const redis = await startRedis(t)
      const server = await startServer(t, { redis, args: ['--shards', shards] })
      const client = await connect(t, server, '?username=once')
      const twice = async () => {
        const answers = []
        const asked = [1, 2, 3].map(() => server.post('/api/v1/publish', { channel: 'user:once', data: 'x', idempotency_key: 'k1' })
          .then((reply) => answers.push(reply)))
        await new Promise((done) => setTimeout(done, 300))
        assert.equal(answers.length, 0, `answered before Redis was: ${answers[0]?.text}`)
        return { answers, done: Promise.all(asked) }
      }
      redis.pause()
      const failed = await twice()
      await redis.kill9()
      await failed.done
      assert.deepEqual(failed.answers.map((reply) => reply.status), [503, 503, 503])

      await redis.start()
      await until('it is ready again', async () => (await server.get('/ready')).status === 200)
      redis.pause()
      const served = await twice()
      redis.resume()
      await served.done
      assert.deepEqual(served.answers.map((reply) => reply.status), [200, 200, 200])
      assert.deepEqual(served.answers.map((reply) => reply.json().duplicate).sort(), [false, true, true])
      const late = await server.post('/api/v1/publish', { channel: 'user:once', data: 'x', idempotency_key: 'k1' })
      assert.equal(late.json().duplicate, true)
      await server.post('/api/v1/publish', { channel: 'user:once', data: 'end' })
      await client.waitFrames(2)
      assert.deepEqual(client.texts, ['"x"', '"end"'])
    })
  }

  test('what is larger than Redis is given at once is 413, and says so', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--http-body-bytes', '80MiB'] })
    await until('it is ready', async () => (await server.get('/ready')).status === 200)
    const reply = await server.post('/api/v1/publish', { channel: 'user:x', data: 'x'.repeat(65 << 20) }, { ms: 30_000 })
    assertError(reply, 413)
    assert.match(reply.text, /"too_large".*payload is larger/)
  })

  test('a publish while Redis is gone is an answer, not silence', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    await redis.kill9()
    const reply = await until('publishing answers 503', async () => {
      const answer = await server.post('/api/v1/publish', { channel: 'user:x', data: 1 }, { ms: 10_000 })
      return answer.status === 503 && answer
    })
    assertError(reply, 503)
  })
})
