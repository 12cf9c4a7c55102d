// permessage-deflate (RFC 7692) with the `ws` library as the other end. Proves:
// - the same payloads as without, text and binary, empty and large, both directions
// - no context takeover on either side is negotiated by default; window bits are honoured or declined
// - one publication reaches compressed and plain sockets alike; odd offers are declined, not fatal
// - a compressed message counts by its inflated size: a bomb is 1009 and cheap
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe } from 'node:test'
import { deflateRawSync, constants } from 'node:zlib'
import { connect, nothingBut, refused, shared, startServer, test } from '../support/harness.mjs'
import { OP, rawWs } from '../support/raw.mjs'

const ON = { clientNoContextTakeover: true, serverNoContextTakeover: true, threshold: 0 }
const squeeze = (text) => deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)

describe('permessage-deflate', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('is accepted, without context takeover of the server', async (t) => {
    for (const deflate of [true, ON]) {
      const client = await connect(t, at.server, '?username=d', { deflate })
      assert.match(client.headers['sec-websocket-extensions'] ?? '', /^permessage-deflate\b/)
      assert.match(client.headers['sec-websocket-extensions'], /server_no_context_takeover/)
    }
    const plain = await connect(t, at.server, '?username=d')
    assert.equal(plain.headers['sec-websocket-extensions'], undefined)
  })

  test('the same payloads as a plain socket, in the same order', async (t) => {
    const clients = [await connect(t, at.server, '?username=same', { deflate: true }), await connect(t, at.server, '?username=same', { deflate: ON }), await connect(t, at.server, '?username=same')]
    const payloads = ['', 'a', '{"k":"v"}', 'x'.repeat(125), 'y'.repeat(126), 'é'.repeat(40_000), 'z'.repeat(900_000), 'after'].map((p) => Buffer.from(p))
    payloads.splice(3, 0, randomBytes(70_000), Buffer.from([0xff, 0, 0, 0xff, 0xff]))
    for (const payload of payloads) await at.server.publishRaw('user:same', payload)
    for (const client of clients) {
      await client.waitFrames(payloads.length)
      for (const [i, payload] of payloads.entries()) {
        assert.ok(client.frames[i].data.equals(payload), `payload ${i}`)
        assert.equal(client.frames[i].binary, i === 3 || i === 4)
      }
    }
  })

  test('a compressed broadcast is smaller on the wire', async (t) => {
    const raw = await rawWs(t, at.server, '?username=small', { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_no_context_takeover; client_no_context_takeover' })
    await at.server.publishRaw('user:small', JSON.stringify({ text: 'again and '.repeat(1000) }))
    const got = await raw.next()
    assert.deepEqual([got.fin, got.rsv, got.opcode], [true, 4, OP.TEXT])
    assert.ok(got.payload.length < 500, `${got.payload.length} bytes`)
  })

  test('envelope frames are compressed, too', async (t) => {
    const client = await connect(t, at.server, '?channel=a:d', { deflate: true })
    for (let i = 0; i < 20; i++) await at.server.publish('a:d', { i, text: 'again '.repeat(100) })
    await client.waitFrames(21)
    assert.deepEqual(client.json.slice(1).map((m) => m.data.i), Array.from({ length: 20 }, (_, i) => i))
  })

  test('room clients send compressed messages, whole and in fragments', async (t) => {
    const [a, b] = [await connect(t, at.server, '?room=d&client_id=a', { deflate: ON }), await connect(t, at.server, '?room=d&client_id=b')]
    await a.send('hello '.repeat(1000), { compress: true })
    await a.send('part one, ', { fin: false, compress: true })
    await a.send('part two', { fin: true, compress: true })
    await a.send('plain', { compress: false })
    for (const client of [a, b]) {
      await client.waitFrames(3)
      assert.deepEqual(client.texts, ['hello '.repeat(1000), 'part one, part two', 'plain'])
    }
  })

  test('a client that keeps its context is understood, or told not to', async (t) => {
    const client = await connect(t, at.server, '?room=ctx&client_id=a', { deflate: { threshold: 0 } })
    for (let i = 0; i < 50; i++) await client.send(`message ${i} ${'again '.repeat(50)}`)
    await client.waitFrames(50)
    assert.deepEqual(client.texts, Array.from({ length: 50 }, (_, i) => `message ${i} ${'again '.repeat(50)}`))
  })

  test('offers: the first good one is taken, what is unknown or malformed is declined', async () => {
    const answer = async (offer) => (await refused(at.server, '?username=o', { 'sec-websocket-extensions': offer })).headers['sec-websocket-extensions']
    assert.equal(await answer('x-unknown'), undefined)
    for (const bad of ['permessage-deflate; nonsense', 'permessage-deflate; server_max_window_bits=7', 'permessage-deflate; server_max_window_bits=16',
      'permessage-deflate; server_max_window_bits', 'permessage-deflate; client_max_window_bits=99', 'permessage-deflate; server_no_context_takeover=1',
      'permessage-deflate; server_no_context_takeover; server_no_context_takeover', 'permessage-deflate; server_max_window_bits=08']) {
      assert.equal(await answer(bad), undefined, bad)
      assert.match(await answer(`${bad}, permessage-deflate`) ?? '', /^permessage-deflate/, `${bad}, with a good one after it`)
    }
    assert.match(await answer('x-unknown, permessage-deflate; client_max_window_bits') ?? '', /^permessage-deflate/)
    assert.doesNotMatch(await answer('permessage-deflate'), /client_max_window_bits/, 'only answered when it was offered')
    const narrow = await answer('permessage-deflate; server_max_window_bits=10')
    if (narrow !== undefined) assert.match(narrow, /server_max_window_bits=(8|9|10)\b/)
  })

  test('a smaller window is honoured', async (t) => {
    const client = await connect(t, at.server, '?username=win', { deflate: { serverMaxWindowBits: 9, threshold: 0 } })
    const payload = JSON.stringify(Array.from({ length: 4000 }, (_, i) => i % 1000))
    await at.server.publishRaw('user:win', payload)
    await client.waitFrames(1)
    assert.equal(client.texts[0], payload)
  })

  test('the limit counts inflated bytes: a bomb is 1009, on each endpoint', async (t) => {
    const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_no_context_takeover; server_no_context_takeover' }
    for (const [query, size] of [['?username=bomb', 513], ['?room=bomb', (1 << 20) + 1], ['?room=bomb', 200 << 20]]) {
      const raw = await rawWs(t, at.server, query, headers)
      const before = at.server.cpuMs()
      raw.send(OP.TEXT, squeeze(Buffer.alloc(size, 0x61)), { rsv: 4 })
      assert.equal(await raw.closeCode(), 1009)
      assert.ok(at.server.cpuMs() - before < 1000, 'it stopped at the limit')
    }
    const fine = await rawWs(t, at.server, '?username=bomb', headers)
    fine.send(OP.TEXT, squeeze('a'.repeat(512)), { rsv: 4 })
    const other = await connect(t, at.server, '?username=bomb')
    await nothingBut(other, 0, 'still', () => at.server.publishRaw('user:bomb', 'still'))
    assert.equal((await fine.next()).opcode, OP.TEXT)
  })

  test('broken deflate data closes with 1007 or 1002; RSV1 without the extension, or on a control or continuation frame, with 1002', async (t) => {
    const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' }
    const broken = await rawWs(t, at.server, '?room=b', headers)
    broken.send(OP.TEXT, Buffer.from([0xff, 0xff, 0xff, 0xff]), { rsv: 4 })
    assert.ok([1002, 1007].includes(await broken.closeCode()))
    const utf8 = await rawWs(t, at.server, '?room=b', headers)
    utf8.send(OP.TEXT, squeeze(Buffer.from([0x61, 0xff])), { rsv: 4 })
    assert.equal(await utf8.closeCode(), 1007)
    const unasked = await rawWs(t, at.server, '?room=b')
    unasked.send(OP.TEXT, squeeze('x'), { rsv: 4 })
    assert.equal(await unasked.closeCode(), 1002)
    const control = await rawWs(t, at.server, '?room=b', headers)
    control.send(OP.PING, 'x', { rsv: 4 })
    assert.equal(await control.closeCode(), 1002)
    const continuation = await rawWs(t, at.server, '?room=b', headers)
    continuation.send(OP.TEXT, squeeze('x'), { rsv: 4, fin: false })
    continuation.send(OP.CONT, '', { rsv: 4 })
    assert.equal(await continuation.closeCode(), 1002)
    for (const rsv of [1, 2, 3, 5, 6, 7]) {
      const odd = await rawWs(t, at.server, '?room=b', headers)
      odd.send(OP.TEXT, 'x', { rsv })
      assert.equal(await odd.closeCode(), 1002, `rsv ${rsv}`)
    }
  })
})
