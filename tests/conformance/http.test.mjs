// HTTP/1.1 byte by byte over plain sockets, issue 2 "HTTP/1.1". Proves:
// - keep-alive, pipelining in order, HTTP/1.0, Connection: close, HEAD, chunked bodies, Expect
// - 404, 405 with Allow, 413, 414 or 431, 417, 426, all as {"error":{"code","message"}}
// - nothing can be smuggled: both lengths, two lengths, bad chunks, obs-fold, bare LF, odd names and
//   spaces are 400 and a close, with one answer and not two
// - slow heads and slow bodies end at their time-out, however they drip; split at every byte all is the same
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { connect, shared, sleep, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'
import { frame, OP, rawConnect, RawWs } from '../support/raw.mjs'

const GET = (path, extra = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${extra}\r\n`
const POST = (path, extra, body = '') => `POST ${path} HTTP/1.1\r\nHost: x\r\n${extra}\r\n${body}`
const PUBLISH = '/api/v1/channels/user:http'

const memory = async (server) => (await server.get('/admin/stats')).json().memory_bytes

function assertJsonError(reply, status) {
  assert.equal(reply.status, status, reply.text)
  assert.match(reply.headers['content-type'] ?? '', /^application\/json/)
  const { error } = JSON.parse(reply.text)
  assert.match(error.code, /^[a-z0-9_]+$/)
  assert.ok(error.message.length >= 8)
}

describe('HTTP/1.1', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('keep-alive: many requests on one connection', async (t) => {
    const raw = rawConnect(t, at.server)
    for (let i = 0; i < 50; i++) {
      raw.write(GET('/health'))
      const reply = await raw.response()
      assert.deepEqual([reply.status, reply.text], [200, 'OK'])
    }
    assert.equal(raw.ended, false)
  })

  test('pipelined requests are answered in order, errors among them', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(GET('/health') + GET('/nowhere') + POST(PUBLISH, 'Content-Length: 2\r\n', 'hi') + `HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n` + GET('/healthz'))
    assert.equal((await raw.response()).text, 'OK')
    assertJsonError(await raw.response(), 404)
    assert.equal(JSON.parse((await raw.response()).text).results[0].channel, 'user:http')
    const head = await raw.response({ head: true })
    assert.deepEqual([head.status, head.headers['content-length']], [200, '2'])
    assert.equal((await raw.response()).text.trim(), 'ok')
  })

  test('a thousand pipelined requests in one write', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(GET('/health').repeat(1000))
    for (let i = 0; i < 1000; i++) assert.equal((await raw.response()).text, 'OK')
  })

  test('a client that pipelines without reading is held back, not buffered without end, and loses nothing', async (t) => {
    for (let i = 0; i < 20; i++) await at.server.publishRaw('held:back', 'x'.repeat(24_000))
    const raw = rawConnect(t, at.server)
    raw.socket.pause()
    const before = await memory(at.server)
    raw.write(GET('/api/v1/channels/held:back/history').repeat(200)) // Some 90 MB of replies.
    raw.write(GET('/health').repeat(500) + POST(PUBLISH, 'Content-Length: 2\r\n', 'hi').repeat(3))
    await sleep(500)
    assert.ok(await memory(at.server) - before < 32 << 20)
    let [bytes, tail] = [0, '']
    raw.socket.removeAllListeners('data')
    raw.socket.on('data', (part) => { bytes += part.length; tail = (tail + part.toString('latin1')).slice(-2000) })
    raw.socket.resume()
    await until('the last of the pipelined requests is answered', () => tail.match(/"results"/g)?.length === 3, { ms: 30_000 * SLOW })
    assert.ok(bytes > 200 * 20 * 24_000)
    assert.equal(raw.ended, false)
  })

  test('a client that pipelines, closes its side and then reads gets all its answers, and an end', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(POST(PUBLISH, 'Content-Length: 2\r\n', 'hi').repeat(5) + GET('/metrics') + GET('/health'))
    raw.socket.end()
    for (let i = 0; i < 5; i++) assert.equal((await raw.response()).status, 200)
    assert.match((await raw.response()).text, /^# HELP/)
    assert.equal((await raw.response()).text, 'OK')
    await raw.waitEnd()
  })

  test('what is pipelined behind a reply that is long in coming waits in the socket, not in memory', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-canary-interval', '60s'] })
    const before = await memory(server)
    const raw = rawConnect(t, server)
    redis.pause()
    t.after(() => redis.resume())
    for (let i = 0; i < 800; i++) { // Piece by piece, so that each is an event of its own.
      raw.write(POST(PUBLISH, 'Content-Length: 65536\r\n', 'x'.repeat(65_536)))
      if (raw.socket.writableLength > 1 << 20) break
      await sleep(1)
    }
    assert.ok(await memory(server) - before < 16 << 20)
  })

  test('split at every byte, the answers are the same', async (t) => {
    const bytes = POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n') + GET('/health')
    for (let cut = 1; cut < bytes.length; cut += 3) {
      const raw = rawConnect(t, at.server)
      raw.write(bytes.slice(0, cut))
      await new Promise(setImmediate)
      raw.write(bytes.slice(cut))
      assert.equal((await raw.response()).status, 200, `cut at ${cut}`)
      assert.equal((await raw.response()).text, 'OK', `cut at ${cut}`)
      raw.socket.destroy()
    }
    const drip = rawConnect(t, at.server)
    for (const byte of bytes) { drip.write(byte); await new Promise(setImmediate) }
    assert.equal((await drip.response()).status, 200)
    assert.equal((await drip.response()).text, 'OK')
  })

  test('Connection: close and HTTP/1.0 end the connection, keep-alive in HTTP/1.0 does not', async (t) => {
    for (const request of [GET('/health', 'Connection: close\r\n'), 'GET /health HTTP/1.0\r\n\r\n', GET('/health', 'Connection: x, CLOSE\r\n')]) {
      const raw = rawConnect(t, at.server)
      raw.write(request)
      assert.equal((await raw.response()).text, 'OK')
      await raw.waitEnd()
    }
    const kept = rawConnect(t, at.server)
    kept.write('GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    assert.equal((await kept.response()).text, 'OK')
    kept.write(GET('/health'))
    assert.equal((await kept.response()).text, 'OK')
  })

  test('chunked bodies: sizes in hex, extensions, trailers, many small chunks', async (t) => {
    const client = await connect(t, at.server, '?username=http')
    const raw = rawConnect(t, at.server)
    const chunked = (body) => POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', body)
    raw.write(chunked('5\r\nhello\r\n0\r\n\r\n'))
    raw.write(chunked('A;name="va;lue"\r\n0123456789\r\n1\r\nx\r\n0\r\nTrailer: v\r\nOther: w\r\n\r\n'))
    raw.write(chunked(Array.from({ length: 300 }, (_, i) => `1\r\n${i % 10}\r\n`).join('') + '0\r\n\r\n'))
    raw.write(chunked('0\r\n\r\n'))
    raw.write(chunked('00000003\r\nabc\r\n000\r\n\r\n'))
    for (let i = 0; i < 5; i++) assert.equal((await raw.response()).status, 200)
    await client.waitFrames(5)
    assert.deepEqual(client.texts, ['hello', '0123456789x', Array.from({ length: 300 }, (_, i) => i % 10).join(''), '', 'abc'])
  })

  test('Expect: 100-continue is answered before the body, another expectation with 417', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(POST(PUBLISH, 'Content-Length: 4\r\nExpect: 100-continue\r\n'))
    assert.equal((await raw.response()).status, 100)
    raw.write('body')
    assert.equal((await raw.response()).status, 200)
    const odd = rawConnect(t, at.server)
    odd.write(POST(PUBLISH, 'Content-Length: 4\r\nExpect: miracles\r\n'))
    assert.equal((await odd.response()).status, 417)
  })

  test('Expect with a body that will be refused gets the refusal, not 100', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(POST(PUBLISH, 'Content-Length: 99999999999\r\nExpect: 100-continue\r\n'))
    assertJsonError(await raw.response(), 413)
    await raw.waitEnd()
  })

  test('404 and 405 are JSON, 405 with Allow, and keep the connection', async (t) => {
    const raw = rawConnect(t, at.server)
    for (const [method, path, status, allow] of [
      ['GET', '/', null], ['GET', '/nowhere', 404], ['GET', '/health/', 404], ['GET', '/healthx', 404], ['DELETE', '/health', 405, /GET/],
      ['PUT', '/api/v1/publish', 405, /POST/], ['POST', '/api/v1/connections', 405, /GET/], ['GET', '/api/v1/connections/x', 405, /DELETE/], ['POST', '/ws', 405, /GET/]
    ]) {
      raw.write(`${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`)
      const reply = await raw.response()
      if (status === null) continue
      assertJsonError(reply, status)
      if (allow) assert.match(reply.headers.allow ?? '', allow, `${method} ${path}`)
    }
    assert.equal(raw.ended, false)
  })

  test('query strings, absolute URLs and an OPTIONS * do not confuse the routes', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(GET('/health?x=y&z') + GET('http://x/health'))
    assert.equal((await raw.response()).text, 'OK')
    assert.equal((await raw.response()).text, 'OK')
    raw.write('OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n')
    assert.ok((await raw.response()).status < 500)
  })

  test('/ws without a right upgrade: 400 or 426, and the version wanted', async (t) => {
    const head = (lines) => `GET /ws?username=u HTTP/1.1\r\nHost: x\r\n${lines.map((l) => l + '\r\n').join('')}\r\n`
    const good = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
    for (let i = 0; i < good.length; i++) {
      const raw = rawConnect(t, at.server)
      raw.write(head(good.filter((_, k) => k !== i)))
      assert.ok([400, 426].includes((await raw.response()).status), `without ${good[i]}`)
    }
    for (const key of ['', 'short', 'dGhlIHNhbXBsZSBub25jZQ', 'dGhlIHNhbXBsZSBub25jZQ==='.padEnd(40, 'x')]) {
      const raw = rawConnect(t, at.server)
      raw.write(head([...good.slice(0, 3), `Sec-WebSocket-Key: ${key}`]))
      assert.equal((await raw.response()).status, 400, `key ${key}`)
    }
    const old = rawConnect(t, at.server)
    old.write(head([good[0], good[1], 'Sec-WebSocket-Version: 8', good[3]]))
    const reply = await old.response()
    assert.equal(reply.status, 426)
    assert.equal(reply.headers['sec-websocket-version'], '13')
  })

  test('an upgrade: token lists and letter case; frames right behind the head are not lost', async (t) => {
    const ws = new RawWs(t, { port: at.server.port })
    ws.write(Buffer.concat([Buffer.from('GET /ws?room=early&client_id=e HTTP/1.1\r\nHost: x\r\nupgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n' +
      'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'), frame(OP.TEXT, 'early bird')]))
    const reply = await ws.response()
    assert.equal(reply.status, 101)
    assert.equal(reply.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
    assert.equal((await ws.next()).payload.toString(), 'early bird')
  })
})

describe('limits', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { args: ['--http-body-bytes', '4096'] }) }))

  test('a body above the limit is 413, by length and by chunks, and closes; at the limit it is taken', async (t) => {
    const fine = rawConnect(t, at.server)
    fine.write(POST(PUBLISH, 'Content-Length: 4096\r\n', 'x'.repeat(4096)))
    assert.equal((await fine.response()).status, 200)
    const long = rawConnect(t, at.server)
    long.write(POST(PUBLISH, 'Content-Length: 4097\r\n', 'x'.repeat(100)))
    assertJsonError(await long.response(), 413)
    await long.waitEnd()
    const chunked = rawConnect(t, at.server)
    chunked.write(POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', `1000\r\n${'x'.repeat(4096)}\r\n1\r\nx\r\n0\r\n\r\n`))
    assertJsonError(await chunked.response(), 413)
    await chunked.waitEnd()
  })

  test('a client still sending its large body can read the 413', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write(POST(PUBLISH, 'Content-Length: 50000000\r\n'))
    for (let i = 0; i < 30; i++) { raw.write('x'.repeat(100_000)); await sleep(2) }
    assertJsonError(await raw.response(), 413)
  })

  test('a head that is too large, or has too many fields, is 431; a target that is too long 414 or 431', async (t) => {
    for (const [request, statuses] of [
      [GET('/health', `X-Long: ${'x'.repeat(200_000)}\r\n`), [431]],
      [GET('/health', Array.from({ length: 5000 }, (_, i) => `X-${i}: y\r\n`).join('')), [431]],
      [GET('/health?' + 'x'.repeat(200_000)), [414, 431]]
    ]) {
      const raw = rawConnect(t, at.server)
      raw.write(request)
      const reply = await raw.response()
      assert.ok(statuses.includes(reply.status), `${reply.status} ${reply.text}`)
      await raw.waitEnd()
    }
  })

  test('chunk extensions and trailers without end are refused', async (t) => {
    for (const body of [`1;${'x'.repeat(200_000)}`, `0\r\n${'T: v\r\n'.repeat(50_000)}`]) {
      const raw = rawConnect(t, at.server)
      raw.write(POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', body))
      assert.match(await raw.waitEnd(), /^HTTP\/1\.1 4(00|13|31) /)
    }
  })
})

describe('smuggling', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))
  const INNER = GET('/healthz')
  const cases = {
    'both lengths': POST(PUBLISH, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    'both lengths, other order': POST(PUBLISH, 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
    'two different lengths': POST(PUBLISH, 'Content-Length: 1\r\nContent-Length: 2\r\n', 'ab'),
    'two equal lengths': POST(PUBLISH, 'Content-Length: 1\r\nContent-Length: 1\r\n', 'a'),
    'a list of lengths': POST(PUBLISH, 'Content-Length: 1, 2\r\n', 'ab'),
    'a length with a plus': POST(PUBLISH, 'Content-Length: +1\r\n', 'a'),
    'a negative length': POST(PUBLISH, 'Content-Length: -1\r\n'),
    'a hexadecimal length': POST(PUBLISH, 'Content-Length: 0x1\r\n', 'a'),
    'a length with letters': POST(PUBLISH, 'Content-Length: 1a\r\n', 'a'),
    'a length with a space inside': POST(PUBLISH, 'Content-Length: 1 0\r\n', 'a'),
    'an empty length': POST(PUBLISH, 'Content-Length: \r\n'),
    'a length past 64 bits': POST(PUBLISH, 'Content-Length: 18446744073709551617\r\n', 'a'),
    'a space before the colon': POST(PUBLISH, 'Content-Length : 1\r\n', 'a'),
    'a tab before the colon': POST(PUBLISH, 'Transfer-Encoding\t: chunked\r\n', '0\r\n\r\n'),
    'an unknown coding': POST(PUBLISH, 'Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'),
    'identity': POST(PUBLISH, 'Transfer-Encoding: identity\r\n'),
    'chunked not last': POST(PUBLISH, 'Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'),
    'chunked twice': POST(PUBLISH, 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    'chunked, chunked': POST(PUBLISH, 'Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'),
    'chunked with a control character': POST(PUBLISH, 'Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'),
    'chunked in HTTP/1.0': 'POST ' + PUBLISH + ' HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a chunk size that is no number': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', 'zz\r\nx\r\n0\r\n\r\n'),
    'a negative chunk size': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '-1\r\nx\r\n0\r\n\r\n'),
    'a chunk size with 0x': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '0x1\r\nx\r\n0\r\n\r\n'),
    'an empty chunk size': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '\r\nx\r\n0\r\n\r\n'),
    'a chunk size past 64 bits': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '10000000000000001\r\nx\r\n0\r\n\r\n'),
    'a space before a chunk size': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', ' 1\r\nx\r\n0\r\n\r\n'),
    'chunk data longer than its size': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '1\r\nxy\r\n0\r\n\r\n'),
    'a chunk ended by a bare LF': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '1\nx\r\n0\r\n\r\n'),
    'chunk data ended by a bare LF': POST(PUBLISH, 'Transfer-Encoding: chunked\r\n', '1\r\nx\n0\r\n\r\n'),
    'obs-fold': GET('/health', 'X-A: b\r\n c\r\n'),
    'obs-fold with a tab': GET('/health', 'X-A: b\r\n\tc\r\n'),
    'a folded first field': 'GET /health HTTP/1.1\r\n Host: x\r\n\r\n',
    'bare LF everywhere': 'GET /health HTTP/1.1\nHost: x\n\n',
    'a bare LF after one field': 'GET /health HTTP/1.1\r\nHost: x\nX: y\r\n\r\n',
    'a bare LF at the end of the head': 'GET /health HTTP/1.1\r\nHost: x\r\n\n',
    'a bare CR in a value': GET('/health', 'X-A: b\rc\r\n'),
    'a NUL in a value': GET('/health', 'X-A: b\0c\r\n'),
    'a NUL in the target': 'GET /hea\0lth HTTP/1.1\r\nHost: x\r\n\r\n',
    'a name that is no token': GET('/health', 'X A: b\r\n'),
    'an empty name': GET('/health', ': b\r\n'),
    'a field without a colon': GET('/health', 'X-A\r\n'),
    'no Host': 'GET /health HTTP/1.1\r\n\r\n',
    'two Hosts': GET('/health', 'Host: y\r\n'),
    'no version': 'GET /health\r\nHost: x\r\n\r\n',
    'a strange version': 'GET /health HTTP/1.7x\r\nHost: x\r\n\r\n',
    'a space in the target': 'GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n',
    'a control character in the method': 'G\x01T /health HTTP/1.1\r\nHost: x\r\n\r\n',
    'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
    'HTTP/2 prior knowledge': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  }
  for (const [name, request] of Object.entries(cases)) {
    test(`${name}: 400 and a close, one answer only`, async (t) => {
      const raw = rawConnect(t, at.server)
      raw.write(request + INNER)
      const text = await raw.waitEnd()
      assert.match(text, /^HTTP\/1\.1 (400|501|505) /, JSON.stringify(text))
      if (!/unknown coding|identity|version|HTTP\/2/.test(name)) assert.match(text, /^HTTP\/1\.1 400 /)
      assert.equal(text.match(/HTTP\/1\.1 \d{3} /g).length, 1, `a second answer: ${text}`)
      assert.match(text, /connection: close/i)
    })
  }

  test('a request after a refused one is never run', async (t) => {
    const client = await connect(t, at.server, '?username=smuggled')
    for (const request of Object.values(cases)) {
      const raw = rawConnect(t, at.server)
      raw.write(request + POST('/api/v1/channels/user:smuggled', 'Content-Length: 1\r\n', 'x'))
      await raw.waitEnd()
    }
    await at.server.publish('user:smuggled', 'end')
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['"end"'])
  })
})

describe('slow clients of HTTP', () => {
  const at = shared(async (t) => ({
    server: await startServer(t, { args: ['--http-head-timeout', '300ms', '--http-body-timeout', '300ms'] })
  }))
  const ended = async (raw, most = 2500) => {
    const started = performance.now()
    const text = await raw.waitEnd(most * SLOW)
    if (text) assert.match(text, /^HTTP\/1\.1 408 /, text)
    return performance.now() - started
  }

  test('half a head ends at its time-out', async (t) => {
    const raw = rawConnect(t, at.server)
    raw.write('GET /health HTTP/1.1\r\nHos')
    assert.ok(await ended(raw) >= 200)
  })

  test('a connection that says nothing ends, too', async (t) => {
    const raw = rawConnect(t, at.server)
    await raw.waitEnd(5000 * SLOW)
  })

  test('a head that drips byte by byte ends all the same', async (t) => {
    const raw = rawConnect(t, at.server)
    const timer = setInterval(() => raw.write('x'), 50)
    t.after(() => clearInterval(timer))
    raw.write('GET /health HTTP/1.1\r\nX: ')
    await ended(raw)
  })

  test('a body that stalls, or drips without end, ends at its time-out', async (t) => {
    const stall = rawConnect(t, at.server)
    stall.write(POST(PUBLISH, 'Content-Length: 10\r\n', 'abc'))
    await ended(stall)
    const drip = rawConnect(t, at.server)
    drip.write(POST(PUBLISH, 'Transfer-Encoding: chunked\r\n'))
    const timer = setInterval(() => drip.write('1\r\nx\r\n'), 50)
    t.after(() => clearInterval(timer))
    await ended(drip)
  })

  test('a hundred slow ones do not slow down anybody else', async (t) => {
    const slow = Array.from({ length: 100 }, () => rawConnect(t, at.server).write('GET /he'))
    const started = performance.now()
    for (let i = 0; i < 20; i++) assert.equal((await at.server.get('/health')).text, 'OK')
    assert.ok(performance.now() - started < 2000 * SLOW)
    for (const raw of slow) await raw.waitEnd(5000 * SLOW)
  })

  test('an established WebSocket is under no HTTP time-out', async (t) => {
    const client = await connect(t, at.server, '?username=stays')
    await sleep(900)
    await at.server.publish('user:stays', 1)
    await client.waitFrames(1)
  })
})
