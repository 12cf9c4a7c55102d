// A reader of server-sent events over fetch, by the letter of the standard (WHATWG HTML, 9.2.6), and an
// nginx to put in front of a server.
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, startProcess, tempDir, until } from './harness.mjs'

export class EventStream {
  events = [] // { event, data, id } as they would be dispatched.
  comments = []
  retry = null
  lastEventId = ''
  blocks = [] // Every block's id, data or not.
  ended = false // 'end' or the error.
  #lines = { data: [], event: '', id: undefined }
  #rest = ''

  static async open(t, url, { lastEventId, headers = {} } = {}) {
    const abort = new AbortController()
    t.after(() => abort.abort())
    const stream = new EventStream()
    stream.abort = () => abort.abort()
    const response = await fetch(url, {
      signal: abort.signal,
      headers: { ...headers, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
    })
    stream.status = response.status
    stream.headers = response.headers
    if (response.status !== 200) { stream.text = await response.text(); return stream }
    stream.#read(response.body.getReader())
    return stream
  }
  async #read(reader) {
    const decoder = new TextDecoder('utf-8', { fatal: true })
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        this.#feed(decoder.decode(value, { stream: true }))
      }
      this.ended = 'end'
    } catch (error) { this.ended = error }
  }
  #feed(text) {
    const lines = (this.#rest + text).split('\n') // The server ends its lines with LF alone.
    this.#rest = lines.pop()
    for (const line of lines) this.#line(line)
  }
  #line(line) {
    assert.ok(!line.includes('\r'))
    if (line === '') return this.#dispatch()
    if (line.startsWith(':')) { this.comments.push(line.slice(1).trim()); return }
    const colon = line.indexOf(':')
    const [name, value] = colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')]
    if (name === 'data') this.#lines.data.push(value)
    else if (name === 'retry') this.retry = Number(value)
    else this.#lines[name] = value
  }
  #dispatch() {
    const { data, event, id } = this.#lines
    this.#lines = { data: [], event: '', id: undefined }
    if (id !== undefined) { this.lastEventId = id; this.blocks.push(id) }
    if (data.length) this.events.push({ event: event || 'message', data: data.join('\n'), id: this.lastEventId })
  }
  get messages() { return this.events.filter((e) => e.event === 'message').map((e) => e.data) }
  get json() { return this.messages.map((text) => JSON.parse(text)) }
  get states() { return this.events.filter((e) => e.event === 'state').map((e) => JSON.parse(e.data)) }
  get gaps() { return this.events.filter((e) => e.event === 'gap').map((e) => JSON.parse(e.data).gap) }
  waitMessages(count, options) {
    return until(`${count} messages have come (have ${this.messages.length})`, () => this.messages.length >= count && this.messages, options)
  }
  waitStates(count) { return until(`${count} state notices have come`, () => this.states.length >= count && this.states) }
  waitEnd(options) { return until('the stream has ended', () => this.ended, options) }
}

/** nginx in front of the server, with its own defaults: it buffers what upstreams say. */
export async function startNginx(t, server, { location = '' } = {}) {
  const dir = tempDir(t, 'nginx')
  const port = await freePort()
  mkdirSync(join(dir, 'temp'))
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(dir, 'temp', kind)};`).join('\n  ')
  writeFileSync(join(dir, 'nginx.conf'), `daemon off;
master_process off; # One process: whoever kills it has killed it.
pid ${join(dir, 'pid')};
error_log stderr;
events { worker_connections 256; }
http {
  access_log off;
  ${temp}
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://127.0.0.1:${server.port}; ${location} }
  }
}
`)
  const start = async () => {
    const nginx = startProcess(t, `nginx on ${port}`, 'nginx', ['-p', dir, '-c', join(dir, 'nginx.conf')])
    await until('nginx answers', async () => (await fetch(`http://127.0.0.1:${port}/health`)).status === 200)
    return nginx
  }
  const box = { port, url: `http://127.0.0.1:${port}`, process: await start() }
  /** Its connections break at once, and then it is there again. */
  box.restart = async () => {
    box.process.signal('SIGTERM')
    await box.process.exited
    box.process = await start()
  }
  return box
}
