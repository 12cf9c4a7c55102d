// Many commands of fanout.v1 sent together, conn/pace.h. Proves with WebSockets written by hand:
// - histories asked for in one go are all answered, in order, however long they are together: reading waits
// - who asks for thousands and reads none of the answers costs next to nothing, and nobody else waits
// - what comes behind a history is read when that is answered, frames cut in two and a close frame included
// - a flood of short commands is answered to the last one, also to a client that reads late
// - a connection that is held back can be closed, by itself and by the gateway
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { shared, sleep, SLOW, startServer, test, until } from '../support/harness.mjs'
import { frame, OP, rawWs } from '../support/raw.mjs'

const V1 = { 'Sec-WebSocket-Protocol': 'fanout.v1' }
const text = (command) => frame(OP.TEXT, JSON.stringify(command))
const histories = (count, channel, limit) => Buffer.concat(
  Array.from({ length: count }, (_, id) => text({ id, history: { channel, since: 'begin', limit } })))

/** The next `count` answers, without the notices between them. */
async function answers(ws, count) {
  const got = []
  while (got.length < count) {
    const { payload } = await ws.next(20_000 * SLOW)
    const message = JSON.parse(payload)
    if ('id' in message) got.push(message)
  }
  return got
}

describe('commands sent together', () => {
  const at = shared(async (t) => {
    const server = await startServer(t, { args: ['--shards', '1', '--data', 'none'] })
    for (let i = 0; i < 256; i++) await server.publishRaw('m:h', 'x'.repeat(4096))
    return { server }
  })
  const open = (t) => rawWs(t, at.server, '', V1)
  const numbered = (count) => Array.from({ length: count }, (_, i) => i)

  test('ten long histories for a client that reads: each is answered, in order', async (t) => {
    const ws = await open(t)
    ws.write(histories(10, 'm:h', 30))
    const got = await answers(ws, 10)
    for (const answer of got) assert.equal(answer.ok?.events.length, 30, JSON.stringify(answer).slice(0, 200))
    assert.deepEqual(got.map((a) => a.id), numbered(10))
  })

  test('histories of a megabyte for a client that reads late: the same', async (t) => {
    const ws = await open(t)
    ws.socket.pause()
    ws.write(Buffer.concat([histories(12, 'm:h', 1000), text({ id: 12, ping: {} })]))
    await sleep(200)
    ws.socket.resume()
    const got = await answers(ws, 13)
    for (const answer of got.slice(0, 12)) assert.ok(answer.ok?.events.length > 100, JSON.stringify(answer).slice(0, 200))
    assert.deepEqual(got.map((a) => a.id), numbered(13))
  })

  test('thousands of histories that nobody reads cost next to nothing, and others are answered meanwhile', async (t) => {
    const ws = await open(t)
    ws.socket.pause()
    const before = at.server.cpuMs()
    ws.write(histories(3600, 'm:h', 1000))
    let worst = 0
    const end = performance.now() + 1000
    while (performance.now() < end) {
      const asked = performance.now()
      assert.equal((await at.server.get('/health')).status, 200)
      worst = Math.max(worst, performance.now() - asked)
      await sleep(10)
    }
    const used = at.server.cpuMs() - before
    assert.ok(used < 800 * SLOW, `used ${used} ms; worst /health ${worst.toFixed(1)} ms`)
  })

  test('a reader of many long histories has them all, and others are answered meanwhile', async (t) => {
    const ws = await open(t)
    ws.write(histories(60, 'm:h', 1000))
    let done = false
    const reading = answers(ws, 60).finally(() => { done = true })
    while (!done) {
      assert.equal((await at.server.get('/health')).status, 200)
      await sleep(5)
    }
    assert.deepEqual((await reading).map((a) => Boolean(a.ok) && a.id), numbered(60))
  })

  test('a frame cut in two, and fragments, behind histories', async (t) => {
    const ws = await open(t)
    const ping = text({ id: 3, ping: {} })
    const whole = Buffer.concat([histories(3, 'm:h', 30), ping,
      frame(OP.TEXT, '{"id":4,', { fin: false }), frame(OP.CONT, '"ping":{}}'), text({ id: 5, ping: {} })])
    const cut = histories(3, 'm:h', 30).length + 7
    ws.write(whole.subarray(0, cut))
    await sleep(50)
    ws.write(whole.subarray(cut))
    assert.deepEqual((await answers(ws, 6)).map((a) => Boolean(a.ok) && a.id), numbered(6))
  })

  test('thirty thousand pings to a client that reads late', async (t) => {
    const ws = await open(t)
    ws.socket.pause()
    for (let i = 0; i < 30; i++) {
      ws.write(Buffer.concat(Array.from({ length: 1000 }, (_, k) => text({ id: i * 1000 + k, ping: { pad: 'p'.repeat(60) } }))))
    }
    await sleep(300)
    ws.socket.resume()
    const got = await answers(ws, 30_000)
    assert.ok(got.every((a, i) => a.id === i && a.ok), 'each once, in order')
  })

  test('a close frame behind histories is answered behind them', async (t) => {
    const ws = await open(t)
    ws.write(Buffer.concat([histories(5, 'm:h', 1000), frame(OP.CLOSE, Buffer.from([3, 0xe8]))]))
    const got = await answers(ws, 5)
    assert.ok(got.every((a) => a.ok))
    assert.equal(await ws.closeCode(), 1000)
    await ws.waitEnd()
  })

  test('one that is held back goes when it hangs up, or resets', async (t) => {
    for (const how of ['end', 'destroy', 'resetAndDestroy']) {
      const ws = await open(t)
      ws.socket.pause()
      ws.write(histories(20, 'm:h', 1000))
      await sleep(100)
      ws.socket.removeAllListeners('data') // Megabytes of no interest.
      ws.socket[how]()
      ws.socket.resume()
    }
    await until('all are gone', async () => (await at.server.get('/api/v1/connections')).json().connections.length === 0)
  })
})

test('a drain ends a connection that is held back', async (t) => {
  const server = await startServer(t, { args: ['--shards', '2', '--data', 'none'] })
  for (let i = 0; i < 200; i++) await server.publishRaw('m:h', 'x'.repeat(4096))
  const ws = await rawWs(t, server, '', V1)
  ws.socket.pause()
  ws.write(histories(500, 'm:h', 1000))
  await sleep(200)
  server.signal('SIGTERM')
  await sleep(200)
  ws.socket.resume()
  assert.equal(await ws.closeCode(), 1012)
  await server.gone()
})
