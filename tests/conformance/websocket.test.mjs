// RFC 6455 frame by frame over plain sockets: what the Autobahn suite's sections 1 to 7, 9 and 10 check,
// against a room on the embedded broker, which gives a sender its own message back. (Sections 12 and 13
// are in integration/deflate.test.mjs; autobahn.mjs here runs the suite itself where Python 2.7 is.)
// A room delivers UTF-8 as text, so a binary message comes back as binary only when it is not UTF-8.
// Proves: 1 framing in each length form; 2 pings and pongs; 3 reserved bits; 4 reserved opcodes;
// 5 fragmentation with control frames between; 6 UTF-8 across fragments, refused at once; 7 the close
// handshake and its codes; masks; 9 large messages in many pieces; 10 split at every byte.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { shared, startServer, test, until } from '../support/harness.mjs'
import { closePayload, frame, OP, rawWs } from '../support/raw.mjs'

describe('RFC 6455', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))
  let rooms = 0
  const open = (t) => rawWs(t, at.server, `?room=echo-${rooms++}&client_id=x`)
  const echo = async (ws, opcode, payload) => {
    const got = await ws.next()
    assert.deepEqual([got.fin, got.rsv, got.opcode], [true, 0, opcode])
    assert.ok(got.payload.equals(Buffer.from(payload)), `${got.payload.length} bytes instead of ${Buffer.byteLength(payload)}`)
  }
  const alive = async (ws) => { ws.send(OP.TEXT, 'alive'); await echo(ws, OP.TEXT, 'alive') }
  /** The connection fails with this close code and then ends; nothing else comes first. */
  const fails = async (ws, ...codes) => {
    const got = await ws.next()
    assert.equal(got.opcode, OP.CLOSE, `opcode ${got.opcode} ${got.payload}`)
    const code = got.payload.readUInt16BE()
    assert.ok(codes.includes(code), `${code}, not ${codes}`)
    await ws.waitEnd()
  }

  for (const size of [0, 1, 125, 126, 127, 128, 65535, 65536, 131072, 1 << 20]) {
    test(`1: text and binary of ${size} bytes`, async (t) => {
      const ws = await open(t)
      ws.send(OP.TEXT, '*'.repeat(size))
      await echo(ws, OP.TEXT, '*'.repeat(size))
      const binary = Buffer.alloc(size, 0xfe)
      ws.send(OP.BINARY, binary)
      await echo(ws, size === 0 ? OP.TEXT : OP.BINARY, binary)
    })
  }

  test('2: pings come back as pongs with their payload, up to 125 bytes, in order', async (t) => {
    const ws = await open(t)
    for (const payload of [Buffer.alloc(0), Buffer.from('Hello'), Buffer.from([0, 255, 254, 253, 252, 251, 0, 255]), Buffer.alloc(125, 0xfe)]) {
      ws.send(OP.PING, payload)
      const got = await ws.next()
      assert.equal(got.opcode, OP.PONG)
      assert.deepEqual(got.payload, payload)
    }
    ws.write(Buffer.concat(Array.from({ length: 10 }, (_, i) => frame(OP.PING, `p${i}`))))
    for (let i = 0; i < 10; i++) assert.equal((await ws.next()).payload.toString(), `p${i}`)
  })

  test('2: a ping above 125 bytes, or in fragments, is 1002', async (t) => {
    const long = await open(t)
    long.send(OP.PING, Buffer.alloc(126))
    await fails(long, 1002)
    const cut = await open(t)
    cut.send(OP.PING, 'x', { fin: false })
    await fails(cut, 1002)
  })

  test('2: pongs nobody asked for are ignored', async (t) => {
    const ws = await open(t)
    for (const payload of ['', 'unsolicited']) ws.send(OP.PONG, payload)
    ws.send(OP.PING, 'x')
    assert.equal((await ws.next()).payload.toString(), 'x')
  })

  for (const rsv of [1, 2, 3, 4, 5, 6, 7]) {
    test(`3: reserved bits ${rsv} are 1002, on data, ping and close, also after a good message`, async (t) => {
      for (const opcode of [OP.TEXT, OP.BINARY, OP.PING, OP.CLOSE]) {
        const ws = await open(t)
        ws.send(OP.TEXT, 'fine')
        await echo(ws, OP.TEXT, 'fine')
        ws.send(opcode, opcode === OP.CLOSE ? closePayload(1000) : 'x', { rsv })
        await fails(ws, 1002)
      }
    })
  }

  for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    test(`4: reserved opcode ${opcode} is 1002, empty and with a payload`, async (t) => {
      for (const payload of ['', 'x']) {
        const ws = await open(t)
        ws.send(opcode, payload)
        await fails(ws, 1002)
      }
    })
  }

  test('5: fragments are one message, however they are cut', async (t) => {
    for (const parts of [['a', 'b'], ['', '', 'x'], ['x', ''], ['', ''], Array.from('fragmented by the letter')]) {
      const ws = await open(t)
      parts.forEach((part, i) => ws.send(i === 0 ? OP.TEXT : OP.CONT, part, { fin: i === parts.length - 1 }))
      await echo(ws, OP.TEXT, parts.join(''))
      await alive(ws)
    }
  })

  test('5: pings between fragments are answered at once', async (t) => {
    const ws = await open(t)
    ws.send(OP.TEXT, 'fragment1', { fin: false })
    ws.send(OP.PING, 'between')
    const pong = await ws.next()
    assert.deepEqual([pong.opcode, pong.payload.toString()], [OP.PONG, 'between'])
    ws.send(OP.PONG, 'unasked')
    ws.send(OP.CONT, 'fragment2', { fin: false })
    ws.send(OP.PING, 'again')
    assert.equal((await ws.next()).payload.toString(), 'again')
    ws.send(OP.CONT, 'fragment3')
    await echo(ws, OP.TEXT, 'fragment1fragment2fragment3')
  })

  test('5: a continuation of nothing, and a new message within one, are 1002', async (t) => {
    for (const frames of [
      [[OP.CONT, 'x', { fin: true }]], [[OP.CONT, 'x', { fin: false }]],
      [[OP.TEXT, 'a', { fin: false }], [OP.TEXT, 'b', {}]], [[OP.TEXT, 'a', { fin: false }], [OP.BINARY, 'b', { fin: false }]]
    ]) {
      const ws = await open(t)
      for (const [opcode, payload, options] of frames) ws.send(opcode, payload, options)
      await fails(ws, 1002)
    }
    const after = await open(t)
    after.send(OP.TEXT, 'a', { fin: false })
    after.send(OP.CONT, 'b')
    await echo(after, OP.TEXT, 'ab')
    after.send(OP.CONT, 'c')
    await fails(after, 1002)
  })

  test('5: a close between fragments closes', async (t) => {
    const ws = await open(t)
    ws.send(OP.TEXT, 'a', { fin: false })
    ws.send(OP.CLOSE, closePayload(1000))
    await fails(ws, 1000)
  })

  const VALID = ['Hello-µ@ßöäüàá-UTF-8!!', '\u0000', '\u007f', '\u0080', '\u07ff', '\u0800', '\uffff', '\u{10000}', '\u{10ffff}', '\ud7ff', '\ue000', '\ufffd', '\ufffe', '\u{1fffe}', 'κόσμε', '\ufeffx']
  test('6: valid UTF-8 comes back, whole and cut at every byte into fragments', async (t) => {
    const ws = await open(t)
    for (const text of VALID) {
      ws.send(OP.TEXT, text)
      await echo(ws, OP.TEXT, text)
      const bytes = Buffer.from(text)
      for (let i = 0; i < bytes.length; i++) ws.send(i === 0 ? OP.TEXT : OP.CONT, bytes.subarray(i, i + 1), { fin: i === bytes.length - 1 })
      await echo(ws, OP.TEXT, text)
    }
  })

  const INVALID = ['80', 'bf', '80bf80', 'c0', 'c1bf', 'c080', 'c0af', 'e08080', 'e080af', 'e09fbf', 'f0808080', 'f08fbfbf', 'f8888080ae', 'fc8080808080', 'fe', 'ff', 'fefeffff',
    'eda080', 'edbfbf', 'eda080edb080', 'f4908080', 'f5808080', 'f7bfbfbf', 'c3', 'e2', 'e282', 'f0', 'f09f', 'f09f98', 'c328', 'e228a1', 'e28228', 'f0288cbc', 'f09028bc', 'f0288c28',
    'cebae1bdb9cf83cebceceeda080656469746564', 'cebae1bdb9cf83cebcceb5f4908080656469746564']
  for (const hex of INVALID) {
    test(`6: ${hex} is 1007, alone, after good text, and in fragments`, async (t) => {
      const bytes = Buffer.from(hex, 'hex')
      for (const payload of [bytes, Buffer.concat([Buffer.from('good '), bytes])]) {
        const ws = await open(t)
        ws.send(OP.TEXT, payload)
        await fails(ws, 1007)
      }
      const cut = await open(t)
      const all = Buffer.concat([Buffer.from('é'), bytes])
      for (let i = 0; i < all.length; i++) cut.send(i === 0 ? OP.TEXT : OP.CONT, all.subarray(i, i + 1), { fin: i === all.length - 1 })
      await fails(cut, 1007)
    })
  }

  test('6: bad UTF-8 fails the connection before the message is over', async (t) => {
    const ws = await open(t)
    ws.send(OP.TEXT, Buffer.from('cebae1bdb9cf83cebcceb5f4908080', 'hex'), { fin: false })
    await fails(ws, 1007)
  })

  test('7: the close handshake: the code comes back and the connection ends; nothing after it is run', async (t) => {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
      const ws = await open(t)
      ws.send(OP.CLOSE, closePayload(code, 'bye'))
      ws.send(OP.PING, 'late')
      ws.send(OP.TEXT, 'late')
      const got = await ws.next()
      assert.equal(got.opcode, OP.CLOSE)
      assert.equal(got.payload.readUInt16BE(), code)
      await ws.waitEnd()
      assert.equal(ws.parse().length, 0, 'nothing after the close frame')
    }
  })

  test('7: a close without a code is answered; one with a reason of 123 bytes, too', async (t) => {
    const empty = await open(t)
    empty.send(OP.CLOSE, '')
    const got = await empty.next()
    assert.equal(got.opcode, OP.CLOSE)
    assert.ok(got.payload.length === 0 || got.payload.readUInt16BE() === 1000)
    await empty.waitEnd()
    const long = await open(t)
    long.send(OP.CLOSE, closePayload(1000, 'é'.repeat(61) + 'x'))
    await fails(long, 1000)
  })

  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) {
    test(`7: close code ${code} is 1002`, async (t) => {
      const ws = await open(t)
      ws.send(OP.CLOSE, closePayload(code))
      await fails(ws, 1002)
    })
  }

  test('7: a close of one byte, of 126 bytes, or with a reason that is not UTF-8', async (t) => {
    const one = await open(t)
    one.send(OP.CLOSE, 'x')
    await fails(one, 1002)
    const long = await open(t)
    long.send(OP.CLOSE, closePayload(1000, 'x'.repeat(124)))
    await fails(long, 1002)
    const bad = await open(t)
    bad.send(OP.CLOSE, Buffer.concat([closePayload(1000), Buffer.from('cebae1bdb9cf83eda080', 'hex')]))
    await fails(bad, 1007)
  })

  test('masks: a frame without one is 1002; any key is right, zero too', async (t) => {
    const bare = await open(t)
    bare.send(OP.TEXT, 'x', { mask: false })
    await fails(bare, 1002)
    const ws = await open(t)
    for (const mask of [[0, 0, 0, 0], [255, 255, 255, 255], [1, 2, 3, 4]]) {
      ws.send(OP.TEXT, 'masked text of some length', { mask })
      await echo(ws, OP.TEXT, 'masked text of some length')
    }
  })

  test('lengths: a longer form than needed is refused or read, a length with the top bit set is 1002 or 1009', async (t) => {
    for (const form of [16, 64]) {
      const ws = await open(t)
      ws.send(OP.TEXT, 'x', { form })
      const got = await ws.next()
      if (got.opcode === OP.CLOSE) assert.equal(got.payload.readUInt16BE(), 1002)
      else assert.equal(got.payload.toString(), 'x')
    }
    const huge = await open(t)
    huge.write(Buffer.concat([Buffer.from([0x82, 0xff]), Buffer.from('8000000000000001', 'hex'), Buffer.alloc(4), Buffer.from('x')]))
    await fails(huge, 1002, 1009)
    const large = await open(t)
    large.write(Buffer.concat([Buffer.from([0x82, 0xff]), Buffer.from('0000000000100001', 'hex'), Buffer.alloc(4)]))
    await fails(large, 1009)
  })

  test('9: 1 MiB in pieces of every size', async (t) => {
    const payload = Buffer.from('0123456789abcdef'.repeat(65536))
    for (const piece of [64, 1024, 65536]) {
      const ws = await open(t)
      const frames = []
      for (let i = 0; i < payload.length; i += piece) {
        frames.push(frame(i === 0 ? OP.TEXT : OP.CONT, payload.subarray(i, i + piece), { fin: i + piece >= payload.length }))
      }
      ws.write(Buffer.concat(frames))
      await echo(ws, OP.TEXT, payload)
    }
  })

  test('9: the message limit counts fragments together, and endless empty fragments end somewhere or cost nothing', async (t) => {
    const ws = await open(t)
    for (let i = 0; i < 17; i++) ws.send(i === 0 ? OP.TEXT : OP.CONT, 'x'.repeat(65536), { fin: false })
    await fails(ws, 1009)
    const empty = await open(t)
    empty.write(Buffer.concat([frame(OP.TEXT, '', { fin: false }), ...Array.from({ length: 20_000 }, () => frame(OP.CONT, '', { fin: false })), frame(OP.CONT, 'end')]))
    const got = await empty.next()
    assert.ok(got.opcode === OP.CLOSE || got.payload.toString() === 'end')
  })

  test('9: ten thousand small messages in one write come back in order', async (t) => {
    const ws = await open(t)
    ws.write(Buffer.concat(Array.from({ length: 10_000 }, (_, i) => frame(OP.TEXT, String(i)))))
    for (let i = 0; i < 10_000; i++) assert.equal((await ws.next()).payload.toString(), String(i))
  })

  test('10: split at every byte, everything is the same', async (t) => {
    const ws = await open(t)
    const trickle = async (bytes, step) => {
      for (let i = 0; i < bytes.length; i += step) { ws.write(bytes.subarray(i, i + step)); await new Promise(setImmediate) }
    }
    await trickle(Buffer.concat([frame(OP.TEXT, 'one'), frame(OP.PING, 'p'), frame(OP.TEXT, 'x'.repeat(300), { fin: false }), frame(OP.CONT, 'é')]), 1)
    // The echo travels by way of the room's home, the pong does not: it may come first or in between.
    const frames = [await ws.next(), await ws.next(), await ws.next()]
    assert.equal(frames.filter((f) => f.opcode === OP.PONG && String(f.payload) === 'p').length, 1)
    assert.deepEqual(frames.filter((f) => f.opcode === OP.TEXT).map((f) => String(f.payload)), ['one', 'x'.repeat(300) + 'é'])
    await trickle(frame(OP.TEXT, 'y'.repeat(66_000)), 997)
    await echo(ws, OP.TEXT, 'y'.repeat(66_000))
  })

  test('a client that vanishes within a frame harms nobody', async (t) => {
    const count = async () => (await at.server.get('/api/v1/connections')).json().connections.length
    await until('the tests before are gone', async () => await count() === 0)
    for (const cut of [1, 2, 3, 5, 8, 100]) {
      const ws = await open(t)
      ws.write(frame(OP.TEXT, 'x'.repeat(500)).subarray(0, cut))
      ws.socket.resetAndDestroy()
    }
    await until('they are all gone', async () => await count() === 0)
    await alive(await open(t))
  })
})
