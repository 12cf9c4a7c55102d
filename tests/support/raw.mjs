// Bytes on the wire, written and read by hand: what a library would never send, and what it would hide.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import net from 'node:net'
import { SLOW, until, within } from './harness.mjs'

export const OP = { CONT: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 }

/** A plain TCP connection that keeps everything it receives. */
export class RawSocket {
  received = Buffer.alloc(0)
  ended = false // The peer has closed, or reset, the connection.

  constructor(t, { port, host = '127.0.0.1', path }) {
    this.socket = net.connect(path ? { path } : { port, host })
    this.socket.setNoDelay(true)
    this.socket.on('data', (part) => { this.received = Buffer.concat([this.received, part]) })
    this.socket.on('error', () => { this.ended = true })
    this.socket.on('end', () => { this.ended = true })
    this.socket.on('close', () => { this.ended = true })
    t.after(() => this.socket.destroy())
  }
  write(data) { if (!this.socket.destroyed) this.socket.write(data, typeof data === 'string' ? 'latin1' : undefined); return this }
  get text() { return this.received.toString('latin1') }
  async waitEnd(ms = 5000 * SLOW) {
    await until(`the server closes; received: ${JSON.stringify(this.text.slice(0, 300))}`, () => this.ended, { ms })
    return this.text
  }
  async waitBytes(count, ms) {
    await until(`${count} bytes have come`, () => this.received.length >= count, ms && { ms })
  }
  /** Takes one whole HTTP response off the front; head = the request was HEAD. */
  async response({ head = false, ms = 5000 * SLOW } = {}) {
    return until(`a whole HTTP response; received: ${JSON.stringify(this.text.slice(0, 500))}`, () => this.#take(head), { ms })
  }
  #take(head) {
    const end = this.received.indexOf('\r\n\r\n')
    if (end < 0) return null
    const lines = this.received.subarray(0, end).toString('latin1').split('\r\n')
    const status = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(lines[0])
    assert.ok(status, `no status line: ${lines[0]}`)
    const headers = {}
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':')
      assert.ok(colon > 0, `no header: ${line}`)
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
    }
    const code = Number(status[1])
    const bodiless = head || code < 200 || code === 204 || code === 304
    if (headers['transfer-encoding'] && !bodiless) throw new Error('chunked response: not expected here')
    const length = bodiless ? 0 : Number(headers['content-length'] ?? NaN)
    assert.ok(!Number.isNaN(length), `no content-length: ${lines.join(' | ')}`)
    const start = end + 4
    if (this.received.length < start + length) return null
    const body = Buffer.from(this.received.subarray(start, start + length))
    this.received = this.received.subarray(start + length)
    return { status: code, reason: status[2], headers, body, text: body.toString() }
  }
}

export function rawConnect(t, server) { return new RawSocket(t, server.socketPath ? { path: server.socketPath } : { port: server.port }) }

/** One frame as bytes. mask: true (random), false, or the 4 bytes. len: a false length form. */
export function frame(opcode, payload = '', { fin = true, rsv = 0, mask = true, form } = {}) {
  const body = Buffer.from(payload)
  const size = form ?? (body.length < 126 ? 7 : body.length < 65536 ? 16 : 64)
  const head = Buffer.alloc(size === 7 ? 2 : size === 16 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  if (size === 7) head[1] = body.length
  else if (size === 16) { head[1] = 126; head.writeUInt16BE(body.length, 2) }
  else { head[1] = 127; head.writeBigUInt64BE(BigInt(body.length), 2) }
  if (!mask) return Buffer.concat([head, body])
  head[1] |= 0x80
  const key = mask === true ? randomBytes(4) : Buffer.from(mask)
  const masked = Buffer.allocUnsafe(body.length)
  for (let i = 0; i < body.length; i++) masked[i] = body[i] ^ key[i & 3]
  return Buffer.concat([head, key, masked])
}

export function closePayload(code, reason = '') {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code)
  return Buffer.concat([head, Buffer.from(reason)])
}

/** A WebSocket by hand: frames go out as given and come back undecoded. */
export class RawWs extends RawSocket {
  frames = []
  async open(query, headers = {}) {
    const key = randomBytes(16).toString('base64')
    const lines = Object.entries({
      Host: 'x', Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key, ...headers
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    this.write(`GET /ws${query} HTTP/1.1\r\n${lines.join('')}\r\n`)
    this.handshake = await this.response()
    assert.equal(this.handshake.status, 101, this.handshake.text)
    assert.equal(this.handshake.headers['sec-websocket-accept'],
      createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64'))
    return this
  }
  send(opcode, payload, options) { return this.write(frame(opcode, payload, options)) }
  /** Moves every whole frame from the bytes to this.frames. */
  parse() {
    for (;;) {
      const bytes = this.received
      if (bytes.length < 2) return this.frames
      assert.equal(bytes[1] & 0x80, 0, 'a server never masks')
      let length = bytes[1] & 0x7f
      let start = 2
      if (length === 126) {
        if (bytes.length < 4) return this.frames
        length = bytes.readUInt16BE(2)
        assert.ok(length >= 126, 'the shortest length form')
        start = 4
      } else if (length === 127) {
        if (bytes.length < 10) return this.frames
        length = Number(bytes.readBigUInt64BE(2))
        assert.ok(length >= 65536, 'the shortest length form')
        start = 10
      }
      if (bytes.length < start + length) return this.frames
      this.frames.push({ fin: bytes[0] >> 7 === 1, rsv: (bytes[0] >> 4) & 7, opcode: bytes[0] & 15, payload: Buffer.from(bytes.subarray(start, start + length)) })
      this.received = bytes.subarray(start + length)
    }
  }
  /** The n-th frame from now on that is no ping of the server's heartbeat. */
  async next(ms = 5000 * SLOW) {
    const got = await until(`a frame comes (ended: ${this.ended})`, () => {
      this.parse()
      while (this.frames[0]?.opcode === OP.PING) this.frames.shift()
      if (!this.frames.length && this.ended) throw new Error('the connection ended without a frame')
      return this.frames[0]
    }, { ms })
    this.frames.shift()
    return got
  }
  /** Waits for a close frame, answers nothing, and wants the connection to end; returns the code. */
  async closeCode(ms = 5000 * SLOW) {
    for (;;) {
      const got = await this.next(ms)
      if (got.opcode !== OP.CLOSE) continue
      return got.payload.length ? got.payload.readUInt16BE() : 1005
    }
  }
}

export async function rawWs(t, server, query, headers) {
  const socket = new RawWs(t, server.socketPath ? { path: server.socketPath } : { port: server.port })
  return within(`101 for ${query}`, socket.open(query, headers), 5000 * SLOW)
}
