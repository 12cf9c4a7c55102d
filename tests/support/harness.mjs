// What every integration test stands on: a server, a Redis and clients of its own per test, on free
// ports of 127.0.0.1; waiting by deadline, never by sleeping; logs when a test fails; and at the end
// of each server the question whether it left well: exit status 0 and no word from a sanitizer.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test as nodeTest } from 'node:test'
import { promisify } from 'node:util'
import { createClient } from 'redis'
import WebSocket from 'ws'
import { parseMetrics } from './prometheus.mjs'

const ROOT = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..')
export const BIN = process.env.FANOUT_BIN ??
  ['asan', 'debug'].map((name) => join(ROOT, 'build', name, 'fanout')).find(existsSync) ??
  join(ROOT, 'build/debug/fanout')
/** The long tier: `./dev test --all`. */
export const LONG = process.env.FANOUT_TEST_ALL === '1'
/** Sanitized builds are several times slower; deadlines stretch with them. */
export const SLOW = { tsan: 4, asan: 2 }[process.env.FANOUT_BUILD ?? 'asan'] ?? 1
const WAIT_MS = 5000 * SLOW
const SANITIZER = /ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer/

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

/** Thrown inside until(): waiting longer cannot help. */
class Hopeless extends Error {}

/** Waits until fn() is truthy and returns that; what it waited for is in the error. */
export async function until(what, fn, { ms = WAIT_MS, every = 15 } = {}) {
  const deadline = performance.now() + ms
  let last
  for (;;) {
    try {
      const value = await fn()
      if (value) return value
      last = value
    } catch (error) {
      if (error instanceof Hopeless) throw error
      last = error
    }
    if (performance.now() > deadline) {
      const seen = last instanceof Error ? last.stack : JSON.stringify(last)
      throw new Error(`waited ${ms} ms until ${what}; last seen: ${seen}`)
    }
    await sleep(every)
  }
}

/** Rejects when the promise takes longer than ms. */
export function within(what, promise, ms = WAIT_MS) {
  let timer
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`waited ${ms} ms for ${what}`)), ms) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// --- lifetimes ----------------------------------------------------------------------------------

/** A stack of things to undo, last first; every one runs, the first error is thrown. */
class Scope {
  #undo = []
  after(fn) { this.#undo.push(fn) }
  async close() {
    let first
    while (this.#undo.length) {
      try { await this.#undo.pop()() } catch (error) { first ??= error }
    }
    if (first) throw first
  }
}

const living = new Set() // Servers and Redises whose logs a failing test shows.

/** Runs body with a scope that ends with it; logs of what still runs are in what it throws. */
export async function scoped(body) {
  const scope = new Scope()
  let result, failure
  try {
    result = await body(scope)
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error))
    failure.stack += [...living].map((one) => `\n--- last lines of ${one.name}\n${one.tail()}`).join('')
  }
  try { await scope.close() } catch (error) { failure ??= error }
  if (failure) throw failure
  return result
}

/** Like node:test's test(), with a scope `t` that ends with it, a deadline, and logs on failure. */
export function test(name, options, body) {
  if (typeof options === 'function') [options, body] = [{}, options]
  nodeTest(name, { timeout: 60_000 * SLOW, ...options }, () => scoped(body))
}

/** Inside describe(): builds something once for all its tests. setup(scope) returns an object. */
export function shared(setup) {
  const box = {}
  const scope = new Scope()
  before(async () => { Object.assign(box, await setup(scope)) })
  after(() => scope.close())
  return box
}

export function tempDir(t, label = 'x') {
  const dir = mkdtempSync(join(tmpdir(), `fanout-${label}-`))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A port nobody listens on, below the range the kernel hands to outgoing connections. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000)
    const free = await new Promise((done) => {
      const probe = net.createServer()
      probe.once('error', () => done(false))
      probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => done(true)))
    })
    if (free) return port
  }
}

// --- processes ----------------------------------------------------------------------------------

/** A child that dies with us (setpriv), with its output kept line by line. */
class Process {
  lines = []
  exit = null // { code, signal } once it is gone.

  constructor(name, command, args, { env, prefix = [], cwd } = {}) {
    this.name = name
    const words = ['setpriv', '--pdeathsig', 'KILL', '--', ...prefix, command, ...args]
    this.child = spawn(words[0], words.slice(1), { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    this.exited = new Promise((done) => {
      this.child.once('error', (error) => {
        this.lines.push(String(error))
        this.exit = { code: 127, signal: null }
        done(this.exit)
      })
      this.child.once('close', (code, signal) => { // After both pipes are read to their end.
        this.exit = { code, signal }
        living.delete(this)
        done(this.exit)
      })
    })
    for (const stream of [this.child.stdout, this.child.stderr]) this.#collect(stream)
    living.add(this)
  }

  #collect(stream) {
    let rest = ''
    stream.setEncoding('utf8')
    stream.on('data', (text) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop()
      this.lines.push(...parts)
    })
    stream.on('end', () => { if (rest) this.lines.push(rest) })
  }

  get pid() { return this.child.pid }
  get output() { return this.lines.join('\n') }
  tail(count = 40) { return this.lines.slice(-count).join('\n') }
  signal(name) { if (!this.exit) this.child.kill(name) }
  waitLine(pattern, options) {
    return until(`${this.name} prints ${pattern}`, () => {
      const found = this.lines.find((line) => pattern.test(line))
      if (!found && this.exit) throw new Hopeless(`${this.name} is gone: ${JSON.stringify(this.exit)}\n${this.tail()}`)
      return found
    }, options)
  }
  async gone(ms = 20_000) {
    try {
      return await within(`${this.name} (pid ${this.pid}) to exit`, this.exited, ms)
    } catch (error) {
      this.signal('SIGKILL')
      await this.exited
      error.message += `\n${this.tail()}`
      throw error
    }
  }
  /** Resident memory, KiB. */
  rssKb() { return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]) }
  /** User and system CPU time used so far, in ms. */
  cpuMs() {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  }
}

/** Another program, killed with the test. */
export function startProcess(t, name, command, args, options = {}) {
  const process = new Process(name, command, args, { env: cleanEnv(), ...options })
  t.after(async () => { process.signal('SIGKILL'); await process.exited })
  return process
}

/** Runs fanout to its end, e.g. `fanout config`; returns { code, signal, stdout, stderr }. */
export async function fanout(args, { env = {}, ms = 10_000 * SLOW } = {}) {
  return new Promise((done) => {
    execFile(BIN, args, { env: { ...cleanEnv(), ...env }, timeout: ms, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => done({ code: error ? error.code ?? null : 0, signal: error?.signal ?? null, stdout, stderr }))
  })
}

/** Only what a program needs to run: no REDIS_*, PORT or FANOUT_* of the outside leaks in. */
export function cleanEnv() {
  const keep = ['PATH', 'HOME', 'LANG', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS', 'LSAN_OPTIONS']
  return Object.fromEntries(keep.filter((k) => process.env[k] !== undefined).map((k) => [k, process.env[k]]))
}

// --- the server ---------------------------------------------------------------------------------

class Server extends Process {
  expectCode = 0
  host = '127.0.0.1'

  path(query) { return `ws://${this.host}:${this.port}/ws${query}` }

  /** One request on a connection of its own. body: string | Buffer | object (sent as JSON). */
  request(method, path, { body, headers = {}, ms = WAIT_MS, agent = false } = {}) {
    const json = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)
    const bytes = body === undefined ? undefined : Buffer.from(json ? JSON.stringify(body) : body)
    const options = {
      method, path, agent, headers: {
        ...(json && { 'content-type': 'application/json' }),
        ...(bytes && { 'content-length': bytes.length }), ...headers
      },
      ...(this.socketPath ? { socketPath: this.socketPath } : { host: this.host, port: this.port })
    }
    let request
    return within(`${method} ${path}`, new Promise((done, fail) => {
      request = http.request(options, (response) => {
        const parts = []
        response.on('data', (part) => parts.push(part))
        response.on('error', fail)
        response.on('end', () => done(new Reply(response, Buffer.concat(parts))))
      })
      request.on('error', fail)
      request.on('upgrade', (response, socket) => { socket.destroy(); done(new Reply(response, Buffer.alloc(0))) })
      request.end(bytes)
    }), ms).catch((error) => { request.destroy(); throw error })
  }
  get(path, options) { return this.request('GET', path, options) }
  post(path, body, options) { return this.request('POST', path, { body, ...options }) }
  delete(path, options) { return this.request('DELETE', path, options) }

  /** Publishes JSON data through POST /api/v1/publish; fails unless it was taken. */
  async publish(channel, data, rest = {}) {
    const reply = await this.post('/api/v1/publish', { channel, data, ...rest })
    assert.equal(reply.status, 200, reply.text)
    return reply.json().results[0]
  }
  /** Publishes raw bytes through POST /api/v1/channels/{c}. */
  async publishRaw(channel, bytes, headers = {}) {
    const reply = await this.post(`/api/v1/channels/${encodeURIComponent(channel)}`, Buffer.from(bytes), { headers })
    assert.equal(reply.status, 200, reply.text)
    return reply.json()
  }
  async metrics() {
    const reply = await this.get('/metrics')
    assert.equal(reply.status, 200)
    return parseMetrics(reply.text)
  }
  async ready(ms = 10_000 * SLOW) {
    await until(`${this.name} answers /ready with 200`, async () => {
      if (this.exit) throw new Hopeless(`${this.name} is gone: ${JSON.stringify(this.exit)}\n${this.tail()}`)
      return (await this.get('/ready', { ms: 1000 })).status === 200
    }, { ms })
  }

  /** SIGTERM, then: status 0 (or what the test expects) and no finding of a sanitizer. */
  async stop(ms = 20_000 * SLOW) {
    this.signal('SIGCONT')
    this.signal('SIGTERM')
    const exit = await this.gone(ms)
    this.checkOutput()
    if (this.expectCode !== null) {
      assert.deepEqual(exit, { code: this.expectCode, signal: null }, `${this.name} left with ${JSON.stringify(exit)}\n${this.tail()}`)
    }
    return exit
  }
  checkOutput() {
    const at = this.lines.findIndex((line) => SANITIZER.test(line))
    assert.equal(at, -1, `a sanitizer spoke:\n${this.lines.slice(Math.max(0, at - 2), at + 60).join('\n')}`)
  }
}

class Reply {
  constructor(response, body) {
    this.status = response.statusCode
    this.headers = response.headers
    this.rawHeaders = response.rawHeaders
    this.body = body
  }
  get text() { return this.body.toString('utf8') }
  json() { try { return JSON.parse(this.text) } catch (error) { throw new Error(`not JSON: ${this.text}`, { cause: error }) } }
}

/**
 * Starts `fanout ROLE` and waits for /ready.
 * options: args, env, redis (from startRedis; named by the contract's REDIS_HOST and REDIS_PORT),
 * role, port, prefix (e.g. ['prlimit', '--nofile=128']), ready: false = only until it listens,
 * listen: false = the caller says where by args.
 */
/** Durable history of its own for each server; a test that restarts one gives `--data` itself. */
function dataDir(t, args) {
  return args.some((a) => /^--data\b/.test(String(a))) ? '' : join(tempDir(t, 'data'), 'history')
}

export async function startServer(t, options = {}) {
  const { args = [], env = {}, redis, role = 'serve', prefix, ready = true, listen = true } = options
  const port = options.port ?? await freePort()
  const words = [role]
  if (listen) words.push('--listen', `127.0.0.1:${port}`)
  if (!args.some((a) => String(a).startsWith('--drain-timeout'))) words.push('--drain-timeout', '2s')
  words.push(...args.map(String))
  const redisEnv = redis ? { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.port) } : {}
  assert.ok(existsSync(BIN), `there is no ${BIN}; ./dev build makes one`)
  const server = new Server(`fanout ${role} on ${port}`, BIN, words, { env: { ...cleanEnv(), ...redisEnv, FANOUT_DATA: dataDir(t, args), ...env }, prefix })
  server.port = port
  server.socketPath = options.socketPath
  t.after(() => server.exit ? server.checkOutput() : server.stop())
  if (ready) await server.ready()
  else if (listen || options.socketPath) {
    await until(`${server.name} listens`, async () => {
      if (server.exit) throw new Hopeless(`${server.name} is gone: ${JSON.stringify(server.exit)}\n${server.tail()}`)
      return (await server.get('/health', { ms: 1000 })).status === 200
    })
  }
  return server
}

// --- Redis --------------------------------------------------------------------------------------

const run = promisify(execFile)

class Redis {
  #process
  clients = []
  constructor(port, args, dir, cliArgs) { Object.assign(this, { port, args, dir, cliArgs }) }

  async start() {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no',
      '--daemonize', 'no', '--loglevel', 'warning', '--dir', this.dir, ...this.args]
    this.#process = new Process(`redis on ${this.port}`, 'redis-server', args, { env: cleanEnv() })
    await until('redis answers PING', async () => {
      if (this.#process.exit) throw new Hopeless(`redis is gone\n${this.#process.tail()}`)
      return /PONG|NOAUTH/.test((await run('redis-cli', [...this.cliArgs, 'PING'])).stdout)
    })
  }
  get pid() { return this.#process.pid }
  /** redis-cli, as an operator would type it; returns what it printed, without the last newline. */
  async cli(...words) {
    const { stdout } = await run('redis-cli', [...this.cliArgs, ...words.map(String)], { maxBuffer: 1 << 26 })
    return stdout.replace(/\n$/, '')
  }
  publish(channel, payload) { return this.cli('PUBLISH', channel, payload) }
  /** A node-redis client, closed with the test. */
  async client(t) {
    const client = createClient({ socket: { host: '127.0.0.1', port: this.port, reconnectStrategy: false } })
    client.on('error', () => {})
    await client.connect()
    t.after(() => { try { client.destroy() } catch { /* closed already */ } })
    return client
  }
  async kill9() { this.#process.signal('SIGKILL'); await this.#process.exited }
  async restart() { if (!this.#process.exit) await this.kill9(); await this.start() }
  pause() { this.#process.signal('SIGSTOP') }
  resume() { this.#process.signal('SIGCONT') }
  async stop() { this.#process.signal('SIGCONT'); await this.kill9() }
}

/** options: args (of redis-server), port, cliArgs (how redis-cli reaches it). */
export async function startRedis(t, { args = [], port, cliArgs } = {}) {
  port ??= await freePort()
  const redis = new Redis(port, args, tempDir(t, 'redis'), cliArgs ?? ['-p', String(port)])
  t.after(() => redis.stop())
  await redis.start()
  return redis
}

// --- WebSocket clients --------------------------------------------------------------------------

export class Client {
  frames = [] // { data: Buffer, binary: bool } in order of arrival.
  pings = 0
  closed = null // { code, reason } once it is.
  error = null

  constructor(socket) {
    this.socket = socket
    socket.on('message', (data, binary) => this.frames.push({ data, binary }))
    socket.on('ping', () => this.pings++)
    socket.on('close', (code, reason) => { this.closed = { code, reason: reason.toString() } })
    socket.on('error', (error) => { this.error = error })
    socket.on('upgrade', (response) => { this.headers = response.headers })
  }
  get texts() {
    return this.frames.map((frame) => frame.binary ? assert.fail(`a binary frame: ${frame.data.toString('hex')}`) : frame.data.toString('utf8'))
  }
  get json() { return this.texts.map((text) => JSON.parse(text)) }
  send(data, options) {
    return new Promise((done, fail) => this.socket.send(data, options ?? {}, (error) => error ? fail(error) : done()))
  }
  async waitFrames(count, ms) {
    await until(`${count} frames have come (have ${this.frames.length})`, () => {
      if (this.frames.length >= count) return true
      if (this.closed) throw new Hopeless(`closed with ${JSON.stringify(this.closed)} after ${this.frames.length} frames`)
      return false
    }, ms && { ms })
    return this.frames
  }
  /** Waits for a JSON text frame that the predicate likes. */
  waitJson(what, like, ms) {
    return until(`a frame with ${what} comes; frames: ${this.frames.slice(-5).map((f) => f.data)}`,
      () => this.frames.filter((f) => !f.binary).map((f) => JSON.parse(f.data)).find(like), ms && { ms })
  }
  async waitClosed(ms) {
    await until('the socket is closed', () => this.closed, ms && { ms })
    return this.closed
  }
  async close(code = 1000) {
    if (this.socket.readyState < WebSocket.CLOSING) this.socket.close(code)
    return this.waitClosed()
  }
}

/** Opens /ws + query and resolves on 101. options: protocols, deflate, and ws's own. */
export async function connect(t, server, query, { protocols = [], deflate = false, ...rest } = {}) {
  const client = new Client(new WebSocket(server.path(query), protocols, { perMessageDeflate: deflate, ...rest }))
  t.after(() => client.socket.terminate())
  await within(`101 for ${query}`, new Promise((done, fail) => {
    client.socket.once('open', done)
    client.socket.once('error', fail)
  }))
  return client
}

/** Asks for an upgrade that should be refused; returns the reply. */
export function refused(server, query, headers = {}) {
  return server.get(`/ws${query}`, {
    headers: {
      connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers
    }
  })
}

/** The JSON shape of every error: {"error":{"code","message"}} with a sentence in it. */
export function assertError(reply, status, code) {
  assert.equal(reply.status, status, reply.text)
  assert.match(reply.headers['content-type'] ?? '', /^application\/json/)
  const { error } = reply.json()
  assert.match(error?.code ?? '', /^[a-z][a-z0-9_]*$/, reply.text)
  assert.ok(typeof error.message === 'string' && error.message.length >= 8, reply.text)
  if (code) assert.equal(error.code, code)
  return error
}

/** Proves that nothing more comes: publishes `marker` by fn and waits for it to be the next frame. */
export async function nothingBut(client, count, marker, fn) {
  await fn()
  await client.waitFrames(count + 1)
  assert.equal(client.frames[count].data.toString(), marker)
  assert.equal(client.frames.length, count + 1)
}

/** Polls /ready until it has the status; returns how long that took in ms. */
export async function readyBecomes(server, status, ms) {
  const started = performance.now()
  await until(`/ready answers ${status}`, async () => (await server.get('/ready', { ms: 2000 })).status === status, { ms, every: 50 })
  return performance.now() - started
}
