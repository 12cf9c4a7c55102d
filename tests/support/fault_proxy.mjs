// A TCP proxy that does to connections what networks do: it delays, cuts, truncates, half-closes, stalls
// and refuses; and, knowing WebSocket frames, it loses single messages on their way to the client, which
// no network does and which is the sharpest test of a client that claims to notice.
//
// Every decision comes from a seed and the number of the connection, so that what one connection suffers
// does not depend on how the others are scheduled. `faults` may be changed at any time; times and sizes
// are drawn when a connection begins.
import net from 'node:net'
import { OP } from './raw.mjs'

/** A small seeded generator (mulberry32): 0 <= x < 1. */
export function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A number, or a range to draw from: [least, most]. */
const draw = (random, value) => Array.isArray(value) ? value[0] + random() * (value[1] - value[0]) : value

/**
 * Cuts a server's bytes into its handshake and its WebSocket frames, whole ones only.
 * push(chunk) returns pieces { bytes, message?: true, first?, last? }: messages are what may be lost, with
 * the frames of a fragmented one between `first` and `last`; everything else has to pass.
 */
export class ServerFrames {
  #rest = Buffer.alloc(0)
  #mode = 'head' // 'head', 'frames', or 'opaque': not a WebSocket, nothing to be known.

  push(chunk) {
    this.#rest = this.#rest.length ? Buffer.concat([this.#rest, chunk]) : chunk
    const pieces = []
    if (this.#mode === 'head') this.#head(pieces)
    if (this.#mode === 'opaque') {
      pieces.push({ bytes: this.#rest })
      this.#rest = Buffer.alloc(0)
    }
    while (this.#mode === 'frames' && this.#frame(pieces));
    return pieces
  }

  /** What is left when the server ends: half a frame, or half a head. */
  end() {
    const { length } = this.#rest
    return length ? [{ bytes: this.#rest }] : []
  }

  #head(pieces) {
    const start = this.#rest.subarray(0, 12).toString('latin1')
    if (!'HTTP/1.1 101'.startsWith(start.slice(0, 12))) {
      this.#mode = 'opaque'
      return
    }
    const end = this.#rest.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = this.#rest.subarray(0, end + 4)
    // With a shared dictionary a lost message would make the next ones unreadable: another fault than meant.
    if (/permessage-deflate/i.test(head) && !/server_no_context_takeover/i.test(head)) {
      throw new Error('messages cannot be lost one by one: permessage-deflate with context takeover')
    }
    pieces.push({ bytes: head })
    this.#rest = this.#rest.subarray(end + 4)
    this.#mode = 'frames'
  }

  #frame(pieces) {
    const bytes = this.#rest
    if (bytes.length < 2) return false
    let length = bytes[1] & 0x7f
    let start = 2
    if (length === 126) {
      if (bytes.length < 4) return false
      length = bytes.readUInt16BE(2)
      start = 4
    } else if (length === 127) {
      if (bytes.length < 10) return false
      length = Number(bytes.readBigUInt64BE(2))
      start = 10
    }
    if (bytes[1] & 0x80) start += 4
    if (bytes.length < start + length) return false
    const opcode = bytes[0] & 15
    const piece = { bytes: bytes.subarray(0, start + length) }
    if (opcode < OP.CLOSE) Object.assign(piece, { message: true, first: opcode !== OP.CONT, last: bytes[0] >> 7 === 1 })
    pieces.push(piece)
    this.#rest = bytes.subarray(start + length)
    return true
  }
}

/** One connection through the proxy. */
class Link {
  stalled = false
  #losing = false // The fragments of the message in hand go nowhere.
  #passed = 0
  #timers = []
  #frames = new ServerFrames()

  constructor(proxy, number, client) {
    this.proxy = proxy
    this.number = number
    this.client = client
    this.random = seeded(proxy.seed * 1_000_003 + number)
    const { faults } = proxy
    // Drawn in a fixed order, whatever is used: one fault more does not change the others.
    const [cut, halfClose, stall, truncate] = ['cutAfterMs', 'halfCloseAfterMs', 'stallAfterMs', 'truncateAfterBytes']
      .map((name) => { const x = this.random(); return faults[name] === undefined ? undefined : draw(() => x, faults[name]) })
    this.truncate = truncate
    this.server = net.connect({ ...proxy.target, allowHalfOpen: true })
    for (const socket of [client, this.server]) {
      socket.setNoDelay(true)
      socket.on('error', () => this.destroy())
      socket.on('close', () => this.destroy())
    }
    this.#pipe(client, this.server, (chunk) => [chunk], () => [])
    this.#pipe(this.server, client, (chunk) => this.#toClient(this.#frames.push(chunk)), () => this.#frames.end().map((piece) => piece.bytes))
    if (cut !== undefined) this.#after(cut, () => { proxy.stats.cut++; this.destroy() })
    if (halfClose !== undefined) this.#after(halfClose, () => { proxy.stats.halfClosed++; this.client.end() })
    if (stall !== undefined) this.#after(stall, () => { proxy.stats.stalled++; this.stall() })
  }

  #after(ms, run) { this.#timers.push(setTimeout(run, ms)) }

  stall() {
    this.stalled = true
    this.client.pause()
    this.server.pause()
  }

  resume() {
    this.stalled = false
    this.client.resume()
    this.server.resume()
  }

  destroy() {
    this.#timers.forEach(clearTimeout)
    this.client.destroy()
    this.server.destroy()
    this.proxy.links.delete(this)
  }

  /** Order is kept: a piece waits for those before it. */
  #pipe(from, to, through, rest) {
    let before = Promise.resolve()
    const send = (bytes) => {
      const ms = draw(this.random, this.proxy.faults.delayMs ?? 0)
      before = before.then(async () => {
        if (ms > 0) await new Promise((done) => this.#after(ms, done))
        if (to.destroyed || to.writableEnded) return
        if (!to.write(bytes)) {
          from.pause()
          to.once('drain', () => { if (!this.stalled) from.resume() })
        }
      })
    }
    from.on('data', (chunk) => {
      try {
        for (const bytes of through(chunk)) send(bytes)
      } catch (error) {
        this.proxy.problems.push(error)
        this.destroy()
      }
    })
    from.on('end', () => {
      for (const bytes of rest()) send(bytes)
      before = before.then(() => { if (!to.writableEnded) to.end() })
    })
  }

  #toClient(pieces) {
    const out = []
    for (const piece of pieces) {
      if (piece.message) {
        if (piece.first) this.#losing = this.random() < (this.proxy.faults.dropMessages ?? 0)
        if (piece.first) this.proxy.stats[this.#losing ? 'lost' : 'passed']++
        if (this.#losing) continue
      }
      out.push(piece.bytes)
    }
    return this.truncate === undefined ? out : this.#truncated(out)
  }

  #truncated(out) {
    const kept = []
    for (const bytes of out) {
      const room = this.truncate - this.#passed
      if (room <= 0) break
      kept.push(bytes.subarray(0, room))
      this.#passed += Math.min(room, bytes.length)
    }
    if (this.#passed >= this.truncate) {
      this.proxy.stats.truncated++
      this.#after(20, () => this.destroy())
      this.truncate = -1
    }
    return kept
  }
}

export class FaultProxy {
  links = new Set()
  stats = { connections: 0, refused: 0, cut: 0, halfClosed: 0, stalled: 0, truncated: 0, lost: 0, passed: 0 }
  problems = []

  constructor(target, seed, faults) {
    this.target = { host: '127.0.0.1', ...target }
    this.seed = seed
    this.faults = faults
    this.server = net.createServer({ allowHalfOpen: true }, (client) => {
      const number = this.stats.connections++
      if (this.faults.refuse) {
        this.stats.refused++
        client.on('error', () => {})
        client.destroy()
      } else {
        this.links.add(new Link(this, number, client))
      }
    })
  }

  listen() {
    return new Promise((done, fail) => {
      this.server.once('error', fail)
      this.server.listen(0, '127.0.0.1', () => { this.port = this.server.address().port; done(this) })
    })
  }

  /** Cuts what is open now. */
  cut() {
    for (const link of [...this.links]) { this.stats.cut++; link.destroy() }
  }
  stall() { for (const link of this.links) link.stall() }
  resume() { for (const link of this.links) link.resume() }

  async close() {
    for (const link of [...this.links]) link.destroy()
    await new Promise((done) => this.server.close(done))
    if (this.problems.length) throw this.problems[0]
  }
}

/**
 * Starts a proxy in front of target ({ port, host } or anything with a port).
 * faults: delayMs, cutAfterMs, halfCloseAfterMs, stallAfterMs, truncateAfterBytes: a number or [least, most];
 * dropMessages: 0..1, of the server's WebSocket messages; refuse: every connection is closed at once.
 */
export async function startFaultProxy(t, target, { seed = 1, ...faults } = {}) {
  const proxy = new FaultProxy({ port: target.port, ...(target.host && { host: target.host }) }, seed, faults)
  t.after(() => proxy.close())
  return proxy.listen()
}
