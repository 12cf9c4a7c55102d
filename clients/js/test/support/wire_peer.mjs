// A PEER FOR TESTS, not the gateway: it speaks the shapes of wire.md for what the gateway does not serve yet
// (/sse, /poll, run events), literally and over real HTTP, so that the client's side is tested against the page
// both sides are built from. Integration tests against the real server join it when that lands.
import http from 'node:http'

export async function wirePeer(t) {
  const peer = new WirePeer()
  peer.server = http.createServer((request, response) => peer.serve(request, response))
  await new Promise((done) => peer.server.listen(0, '127.0.0.1', done))
  peer.url = `http://127.0.0.1:${peer.server.address().port}`
  t.after(() => { peer.server.closeAllConnections(); peer.server.close() })
  return peer
}

class WirePeer {
  log = []
  runs = new Map()
  listeners = new Set() // Streams and waiting polls: { channels, types, event(envelope) }
  requests = []
  offsets = new Map()
  epoch = 'e1'

  last(channel) { return this.offsets.get(channel) ?? 0 }
  publish(channel, data) {
    const offset = this.last(channel) + 1
    this.offsets.set(channel, offset)
    const envelope = { channel, cursor: `${this.epoch}:${offset}`, data }
    this.log.push({ ...envelope, offset, epoch: this.epoch })
    for (const one of [...this.listeners]) if (one.channels.includes(channel) && wants(one.types, data)) one.event(envelope)
    return envelope.cursor
  }
  gap(channel, from, to) { for (const one of this.listeners) if (one.channels.includes(channel)) one.gap?.({ gap: { channel, from, to, reason: 'slow' } }) }
  newEpoch(epoch) { this.epoch = epoch; this.log = []; this.offsets.clear() }

  /** "live", "replayed" or "reset", with what was missed. */
  since(channel, text, types) {
    const last = this.last(channel)
    if (text === undefined || text === '-') return { state: 'live', events: [], from: last }
    const [epoch, offset] = text === 'begin' ? [this.epoch, 0] : text.split(':')
    if (epoch !== this.epoch || !(Number(offset) <= last)) return { state: 'reset', events: [], from: last }
    const missed = this.log.filter((event) => event.channel === channel && event.offset > Number(offset) && wants(types, event.data))
    return { state: missed.length ? 'replayed' : 'live', events: missed.map(({ channel, cursor, data }) => ({ channel, cursor, data })), from: Number(offset) }
  }

  serve(request, response) {
    const url = new URL(request.url, 'http://x')
    const query = url.searchParams
    const channels = query.getAll('channel')
    const types = query.get('types')?.split(',')
    const list = query.get('since')?.split(',') ?? []
    const asked = channels.map((channel, i) => ({ channel, ...this.since(channel, list[i], types) }))
    this.requests.push({ path: url.pathname, query, headers: request.headers })
    const json = (status, body, headers = {}) => { response.writeHead(status, { 'content-type': 'application/json', ...headers }); response.end(body && JSON.stringify(body)) }
    if (this.refuse?.(url)) return json(404, { error: { code: 'not_found', message: 'no such address here' } })
    if (url.pathname === '/sse') return this.#sse(response, channels, types, asked)
    if (url.pathname === '/poll') return this.#poll(request, json, channels, types, asked, Number(query.get('wait')))
    const run = /^\/api\/v1\/runs\/([^/]+)\/events$/.exec(url.pathname)
    if (run) {
      const events = this.runs.get(run[1]) ?? []
      const etag = `"${run[1]}-${events.length}"`
      if (request.headers['if-none-match'] === etag) return json(304)
      const end = events.at(-1)?.type
      return json(200, { run_id: run[1], events, status: end === 'workflow_completed' ? 'completed' : 'running' }, { etag })
    }
    const history = /^\/api\/v1\/channels\/([^/]+)\/history$/.exec(url.pathname)
    if (history) {
      const channel = decodeURIComponent(history[1])
      const { state, events } = this.since(channel, query.get('since') ?? 'begin')
      return json(200, { channel, events: events.map(({ cursor, data }) => ({ cursor, data })), cursor: `${this.epoch}:${this.last(channel)}`, state, more: false })
    }
    return json(404, { error: { code: 'not_found', message: 'no such address' } })
  }

  #sse(response, channels, types, asked) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' })
    response.write('retry: 100\n\n: hello\n\n')
    const at = asked.map(({ from }) => `${this.epoch}:${from}`)
    const write = (envelope) => {
      at[channels.indexOf(envelope.channel)] = envelope.cursor
      // One channel: id and data together; several: the list of cursors in a block of its own after each flush.
      if (channels.length === 1) response.write(`id: ${envelope.cursor}\ndata: ${JSON.stringify(envelope)}\n\n`)
      else response.write(`data: ${JSON.stringify(envelope)}\n\nid: ${at.join(',')}\n\n`)
    }
    for (const { channel, state, events, from } of asked) {
      response.write(`event: state\ndata: ${JSON.stringify({ channel, state, cursor: `${this.epoch}:${from}` })}\n\n`)
      events.forEach(write)
    }
    const listener = { channels, types, event: write, gap: (gap) => response.write(`event: gap\ndata: ${JSON.stringify(gap)}\n\n`), cut: () => response.destroy() }
    this.listeners.add(listener)
    response.on('close', () => this.listeners.delete(listener))
  }

  #poll(request, json, channels, types, asked, wait) {
    const RANK = { live: 0, replayed: 1, reset: 2 }
    const answer = (events) => {
      const state = events.length ? 'replayed' : 'live'
      const states = Object.fromEntries(asked.map((one) => [one.channel, one.state === 'reset' ? 'reset' : events.some((event) => event.channel === one.channel) ? 'replayed' : 'live']))
      const worst = Object.values(states).reduce((a, b) => RANK[a] > RANK[b] ? a : b, state)
      json(200, { events, cursor: channels.map((channel) => `${this.epoch}:${this.last(channel)}`).join(','), state: worst, ...(channels.length > 1 && { states }) })
    }
    const events = asked.flatMap((one) => one.events)
    if (events.length || wait === 0 || asked.some(({ state }) => state === 'reset')) return answer(events)
    const done = (events) => { clearTimeout(timer); this.listeners.delete(listener); answer(events) }
    const listener = { channels, types, event: (envelope) => done([envelope]), cut: () => request.destroy() }
    const timer = setTimeout(() => done([]), wait * 1000)
    this.listeners.add(listener)
    request.on('close', () => { clearTimeout(timer); this.listeners.delete(listener) })
  }

  /** Cuts every stream and every poll that waits. */
  cut() { for (const one of [...this.listeners]) one.cut() }
}

function wants(types, data) {
  if (!types) return true
  return types.some((type) => type.endsWith('*') ? data?.type?.startsWith(type.slice(0, -1)) : data?.type === type)
}
