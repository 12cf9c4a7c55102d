// Chromium's own WebSocket as the client. Proves:
// - user events arrive in a browser as strings, binary ones as bytes; rooms carry both ways
// - Chromium's offer of permessage-deflate is accepted, and what comes inflates to the same
// - channels with fanout.v1; close codes and reasons of the server are what a page sees
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { shared, startRedis, startServer, test, until } from '../support/harness.mjs'

/** Opens a WebSocket in the page and keeps what it receives in window.sockets[name]. */
const open = (page, name, url, protocols = []) => page.evaluate(([name, url, protocols]) => new Promise((done, fail) => {
  const socket = new WebSocket(url, protocols)
  socket.binaryType = 'arraybuffer'
  const book = { socket, got: [], closed: null };
  (window.sockets ??= {})[name] = book
  socket.onmessage = ({ data }) => book.got.push(typeof data === 'string' ? data : [...new Uint8Array(data)])
  socket.onclose = ({ code, reason, wasClean }) => { book.closed = { code, reason, wasClean } }
  socket.onopen = () => done({ extensions: socket.extensions, protocol: socket.protocol })
  socket.onerror = () => fail(new Error('the socket did not open'))
}), [name, url, protocols])
const book = (page, name) => page.evaluate((name) => ({ got: window.sockets[name].got, closed: window.sockets[name].closed }), name)
const received = (page, name, count) => until(`${count} messages in the page`, async () => {
  const { got } = await book(page, name)
  return got.length >= count && got
}, { ms: 15_000 })

describe("Chromium's WebSocket", () => {
  const at = shared(async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    return { redis, server, pub: await redis.client(t) }
  })
  const pageOf = (t) => openPage(t, `http://127.0.0.1:${at.server.port}/health`)

  test('user events over Redis, with permessage-deflate as Chromium offers it', async (t) => {
    const page = await pageOf(t)
    const { extensions } = await open(page, 'a', at.server.path('?username=bob%40example.com'))
    assert.match(extensions, /permessage-deflate/)
    const payloads = ['{"type":"test","message":"hello from redis"}', '', 'é😀', 'x'.repeat(200_000), '{"n":1}']
    for (const payload of payloads) await at.pub.publish('workflow:events:bob@example.com', payload)
    await at.pub.publish('workflow:events:bob@example.com', Buffer.from([255, 0, 254]))
    const got = await received(page, 'a', payloads.length + 1)
    assert.deepEqual(got, [...payloads, [255, 0, 254]])
  })

  test('a thousand compressed events in a row all inflate to themselves', async (t) => {
    const page = await pageOf(t)
    await open(page, 'a', at.server.path('?username=many'))
    const sent = Array.from({ length: 1000 }, (_, i) => JSON.stringify({ i, text: `again and ${'again '.repeat(i % 40)}` }))
    await Promise.all(sent.map((text) => at.pub.publish('workflow:events:many', text)))
    assert.deepEqual(await received(page, 'a', 1000), sent)
  })

  test('a room between a browser and itself, text and bytes', async (t) => {
    const page = await pageOf(t)
    await open(page, 'a', at.server.path('?room=web&client_id=a'))
    await open(page, 'b', at.server.path('?room=web&client_id=b'))
    await page.evaluate(() => {
      window.sockets.a.socket.send('from a ' + 'x'.repeat(5000))
      window.sockets.a.socket.send(new Uint8Array([255, 1, 2]))
    })
    for (const name of ['a', 'b']) assert.deepEqual(await received(page, name, 2), ['from a ' + 'x'.repeat(5000), [255, 1, 2]])
  })

  test('channels and fanout.v1', async (t) => {
    const page = await pageOf(t)
    const { protocol } = await open(page, 'a', at.server.path('?channel=a:web'), ['fanout.v1'])
    assert.equal(protocol, 'fanout.v1')
    await page.evaluate(() => window.sockets.a.socket.send('{"id":1,"publish":{"channel":"a:web","data":{"x":1}}}'))
    const got = (await received(page, 'a', 3)).map((text) => JSON.parse(text))
    assert.ok(got.some((m) => m.state === 'live'))
    assert.ok(got.some((m) => m.id === 1 && m.ok))
    assert.ok(got.some((m) => m.data?.x === 1))
  })

  test('the page sees the codes: 1009 for too much, 1008 when cut, 1012 on SIGTERM', async (t) => {
    const server = await startServer(t)
    const page = await pageOf(t)
    for (const name of ['big', 'cut', 'stay']) await open(page, name, server.path(`?username=${name}`))
    await page.evaluate(() => window.sockets.big.socket.send('x'.repeat(600)))
    const [row] = (await server.get('/api/v1/connections?user=cut')).json().connections
    await server.delete(`/api/v1/connections/${row.id}`)
    server.signal('SIGTERM')
    const closed = async (name) => until(`${name} is closed`, async () => (await book(page, name)).closed)
    assert.equal((await closed('big')).code, 1009)
    assert.equal((await closed('cut')).code, 1008)
    const stay = await closed('stay')
    assert.deepEqual([stay.code, stay.wasClean], [1012, true])
    assert.match(stay.reason, /^retry_ms=\d+$/)
  })
})
