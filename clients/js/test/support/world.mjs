// A world for the library under test: a clock that only advance() moves, seeded randomness, sockets that
// the test opens, feeds and breaks, and a fetch that the test answers. No test with it waits for real time.

/** mulberry32 */
export function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Lets everything run that waits for nothing but a promise. */
export async function settle() {
  for (let i = 0; i < 5; i++) await new Promise((done) => setImmediate(done))
}

export class World {
  #timers = new Map()
  #next = 1
  time = 0
  sockets = []
  /** { url, path, query, at, method, headers, body, signal } of every request. */
  requests = []
  /** (request) => { status?, body?, headers? } | Response; throw = unreachable; 'hang' = no answer. */
  answer = () => { throw new TypeError('fetch failed') }

  constructor({ seed = 1, random } = {}) {
    const world = this
    this.WebSocket = class {
      sent = []
      opened = false
      closed = undefined // The code we closed with, or 'dropped'.
      binaryType = 'blob'
      protocol = ''
      constructor(url, protocols = []) {
        this.url = url
        this.protocols = [protocols].flat()
        this.at = world.time
        world.sockets.push(this)
      }
      send(text) { this.sent.push(JSON.parse(text)); this.onsend?.(JSON.parse(text)) }
      close(code = 1005) {
        if (this.closed !== undefined) return
        this.closed = code
        setImmediate(() => this.onclose?.({ code, reason: '' }))
      }
      // --- what the test does with it ---
      open() { this.opened = true; this.onopen?.({}); return this }
      say(value) { if (this.closed === undefined) this.onmessage?.({ data: typeof value === 'string' ? value : JSON.stringify(value) }) }
      drop(code = 1006, reason = '') { if (this.closed === undefined) { this.closed = 'dropped'; this.onclose?.({ code, reason }) } }
    }
    this.environment = {
      now: () => this.time,
      setTimeout: (run, ms) => { this.#timers.set(this.#next, { at: this.time + Math.max(0, ms), run }); return this.#next++ },
      clearTimeout: (id) => this.#timers.delete(id),
      random: random ?? seeded(seed),
      fetch: (url, init = {}) => this.#fetch(url, init),
      WebSocket: this.WebSocket,
      onWake: (run) => { this.wake = run; return () => {} }
    }
  }

  get socket() { return this.sockets.at(-1) }
  /** Sockets that neither side has closed. */
  get openSockets() { return this.sockets.filter((socket) => socket.opened && socket.closed === undefined) }
  requestsTo(part) { return this.requests.filter(({ path }) => path.includes(part)) }

  async #fetch(url, { method = 'GET', headers = {}, body, signal } = {}) {
    const { pathname, searchParams } = new URL(url)
    const request = { url, path: pathname, query: searchParams, at: this.time, method, headers, signal, body: body && JSON.parse(body) }
    this.requests.push(request)
    const answer = await this.answer(request)
    if (signal?.aborted) throw signal.reason
    if (answer === 'hang') return new Promise((_, fail) => signal?.addEventListener('abort', () => fail(signal.reason)))
    if (answer instanceof Response) return answer
    const { status = 200, body: value, headers: more = {} } = answer
    return new Response(status === 304 ? null : JSON.stringify(value), { status, headers: { 'content-type': 'application/json', ...more } })
  }

  /** Moves the clock, running what becomes due in its order. */
  async advance(ms) {
    const until = this.time + ms
    await settle()
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0]
      if (!due) break
      this.#timers.delete(due[0])
      this.time = due[1].at
      due[1].run()
      await settle()
    }
    this.time = until
  }
}
