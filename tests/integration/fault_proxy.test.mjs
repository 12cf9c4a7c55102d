// The proxy that breaks things has to break what it says, and only that. Proves, with plain sockets and
// real `ws` peers:
// - without faults it is transparent: bytes, order, half-closed connections
// - delays keep the order; cut, truncate, half-close, stall and refuse do what their names say
// - a WebSocket message is lost whole or not at all, however its bytes are cut up, fragments included,
//   control frames never; the same seed loses the same messages
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { describe } from 'node:test'
import WebSocket, { WebSocketServer } from 'ws'
import { ServerFrames, seeded, startFaultProxy } from '../support/fault_proxy.mjs'
import { test, until, within } from '../support/harness.mjs'
import { frame, OP } from '../support/raw.mjs'

/** A TCP server; `serve(socket)` for each connection. */
async function tcpServer(t, serve) {
  const sockets = new Set()
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    serve(socket)
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => { for (const socket of sockets) socket.destroy(); server.close() })
  return server.address()
}

/** A connection that keeps what it receives. */
function tcpClient(t, port) {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const got = { socket, bytes: Buffer.alloc(0), ended: false, closed: false }
  socket.on('data', (chunk) => { got.bytes = Buffer.concat([got.bytes, chunk]) })
  socket.on('end', () => { got.ended = true })
  socket.on('close', () => { got.closed = true })
  socket.on('error', () => {})
  t.after(() => socket.destroy())
  return got
}

describe('bytes', () => {
  test('without faults everything passes, both ways, and so does a half-closed connection', async (t) => {
    const target = await tcpServer(t, (socket) => {
      const parts = []
      socket.on('data', (part) => parts.push(part))
      socket.on('end', () => socket.end(Buffer.concat(parts))) // Answers only after the client's end.
    })
    const proxy = await startFaultProxy(t, target)
    const client = tcpClient(t, proxy.port)
    const sent = randomBytes(3_000_000)
    client.socket.end(sent)
    await until('all of it is back', () => client.ended)
    assert.ok(client.bytes.equals(sent))
  })

  test('delays keep the order', async (t) => {
    const target = await tcpServer(t, (socket) => socket.pipe(socket))
    const proxy = await startFaultProxy(t, target, { delayMs: [0, 15] })
    const client = tcpClient(t, proxy.port)
    const started = performance.now()
    for (let i = 0; i < 40; i++) {
      client.socket.write(`${i},`)
      await new Promise((done) => setTimeout(done, 2))
    }
    const all = Array.from({ length: 40 }, (_, i) => `${i},`).join('')
    await until('all of it is back', () => client.bytes.length === all.length)
    assert.equal(client.bytes.toString(), all)
    assert.ok(performance.now() - started > 80, 'it took its time')
  })

  test('cut: the connection ends within its time', async (t) => {
    const target = await tcpServer(t, (socket) => socket.write('hello'))
    const proxy = await startFaultProxy(t, target, { cutAfterMs: [100, 200] })
    const client = tcpClient(t, proxy.port)
    const started = performance.now()
    await until('it is cut', () => client.closed || client.ended)
    assert.ok(performance.now() - started >= 90)
    assert.equal(client.bytes.toString(), 'hello')
    assert.equal(proxy.stats.cut, 1)
  })

  test('truncate: so many bytes and not one more', async (t) => {
    const target = await tcpServer(t, (socket) => socket.write(Buffer.alloc(5000, 'x')))
    const proxy = await startFaultProxy(t, target, { truncateAfterBytes: 1234 })
    const client = tcpClient(t, proxy.port)
    await until('it is cut', () => client.closed || client.ended)
    assert.equal(client.bytes.length, 1234)
    assert.equal(proxy.stats.truncated, 1)
  })

  test('half-close: the client sees an end and can still write', async (t) => {
    let heard = ''
    const target = await tcpServer(t, (socket) => socket.on('data', (part) => { heard += part }))
    const proxy = await startFaultProxy(t, target, { halfCloseAfterMs: 30 })
    const client = tcpClient(t, proxy.port)
    await until('the end comes', () => client.ended)
    assert.equal(client.closed, false)
    client.socket.write('still here')
    await until('the server hears it', () => heard === 'still here')
  })

  test('stall: open and silent; resume lets it go on', async (t) => {
    const target = await tcpServer(t, (socket) => socket.pipe(socket))
    const proxy = await startFaultProxy(t, target)
    const client = tcpClient(t, proxy.port)
    client.socket.write('a')
    await until('an echo', () => client.bytes.length === 1)
    proxy.stall()
    client.socket.write('b')
    await new Promise((done) => setTimeout(done, 150))
    assert.equal(client.bytes.toString(), 'a')
    assert.equal(client.closed, false)
    proxy.resume()
    await until('the rest', () => client.bytes.toString() === 'ab')
  })

  test('refuse: no connection reaches the server', async (t) => {
    let reached = 0
    const target = await tcpServer(t, () => reached++)
    const proxy = await startFaultProxy(t, target, { refuse: true })
    const client = tcpClient(t, proxy.port)
    await until('it is closed', () => client.closed || client.ended)
    assert.deepEqual([reached, proxy.stats.refused], [0, 1])
  })
})

describe('WebSocket messages', () => {
  async function echoServer(t) {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
    await new Promise((done) => server.once('listening', done))
    t.after(() => { for (const socket of server.clients) socket.terminate(); server.close() })
    return { port: server.address().port, server }
  }

  /** What a client receives of `count` numbered messages, 0.., with some in fragments and some large. */
  async function survivors(t, seed, count, dropMessages) {
    const { port, server } = await echoServer(t)
    server.on('connection', (socket) => {
      for (let i = 0; i < count; i++) {
        if (i % 10 === 3) {
          socket.send(`${i} `, { fin: false })
          socket.send('in ', { fin: false })
          socket.ping('between fragments')
          socket.send('pieces', { fin: true })
        } else {
          socket.send(`${i} ${'x'.repeat(i % 7 === 0 ? 70_000 : i)}`)
        }
      }
      socket.ping('end')
    })
    const proxy = await startFaultProxy(t, { port }, { seed, dropMessages })
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/`, { perMessageDeflate: false })
    t.after(() => socket.terminate())
    const got = []
    let pings = 0
    socket.on('message', (data) => got.push(data.toString()))
    await within('the last ping', new Promise((done, fail) => {
      socket.on('error', fail)
      socket.on('ping', (data) => { pings++; if (data.toString() === 'end') done() })
    }))
    return { got, pings, stats: proxy.stats }
  }

  test('a third is lost, whole; what is left is in order and intact; pings all pass', async (t) => {
    const { got, pings, stats } = await survivors(t, 7, 400, 0.3)
    assert.ok(stats.lost > 80 && stats.lost < 160, `${stats.lost} of 400 lost`)
    assert.equal(got.length, 400 - stats.lost)
    assert.equal(pings, 41)
    let last = -1
    for (const text of got) {
      const i = Number(text.split(' ')[0])
      assert.ok(i > last)
      assert.equal(text, i % 10 === 3 ? `${i} in pieces` : `${i} ${'x'.repeat(i % 7 === 0 ? 70_000 : i)}`)
      last = i
    }
  })

  test('the same seed loses the same messages, another one others; 0 loses none, 1 all', async (t) => {
    const [one, again, other, none, all] = await Promise.all([
      survivors(t, 3, 100, 0.3), survivors(t, 3, 100, 0.3), survivors(t, 4, 100, 0.3), survivors(t, 3, 100, 0), survivors(t, 3, 100, 1)
    ])
    assert.deepEqual(one.got, again.got)
    assert.notDeepEqual(one.got, other.got)
    assert.equal(none.got.length, 100)
    assert.equal(all.got.length, 0)
  })

  test('fed byte by byte or whole, the same pieces come out', () => {
    const random = seeded(5)
    const stream = [Buffer.from('HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n')]
    for (const size of [0, 1, 125, 126, 65535, 65536]) stream.push(frame(OP.TEXT, Buffer.alloc(size, 'x'), { mask: false }))
    stream.push(frame(OP.PING, 'p', { mask: false }), frame(OP.TEXT, 'a', { fin: false, mask: false }), frame(OP.CONT, 'b', { mask: false }))
    const whole = Buffer.concat(stream)
    const expected = new ServerFrames().push(whole)
    assert.deepEqual(expected.map((piece) => piece.bytes.length), stream.map((bytes) => bytes.length))
    const cutter = new ServerFrames()
    const pieces = []
    for (let at = 0; at < whole.length;) {
      const size = 1 + Math.floor(random() * (at < 500 ? 1 : 9000))
      pieces.push(...cutter.push(whole.subarray(at, at + size)))
      at += size
    }
    assert.deepEqual(pieces.map(({ bytes, ...rest }) => ({ ...rest, length: bytes.length })),
      expected.map(({ bytes, ...rest }) => ({ ...rest, length: bytes.length })))
    assert.ok(Buffer.concat(pieces.map((piece) => piece.bytes)).equals(whole))
  })

  test('what is no WebSocket passes untouched, also when messages are to be lost', async (t) => {
    const body = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'
    const target = await tcpServer(t, (socket) => socket.on('data', () => socket.end(body)))
    const proxy = await startFaultProxy(t, target, { dropMessages: 1 })
    const client = tcpClient(t, proxy.port)
    client.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await until('the answer', () => client.ended)
    assert.equal(client.bytes.toString(), body)
  })
})
