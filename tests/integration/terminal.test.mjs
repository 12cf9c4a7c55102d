// `fanout sub` and `fanout pub` as somebody types them. Proves:
// - sub takes bare channels as pub does, user: and room: too, and prints what was published byte for byte
// - control bytes of a payload are escaped, in what people read and in --json; an empty payload is an event
// - sub refuses at once what is no WebSocket's address, with a sentence that says what is expected
// - every line of pub's stdin is a message, empty ones too, over HTTP and over Redis
// - serve, demo and the program itself say how they are used
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe } from 'node:test'
import { BIN, cleanEnv, connect, fanout, shared, startProcess, startRedis, startServer, test, until } from '../support/harness.mjs'

const url = (server) => `http://127.0.0.1:${server.port}`

/** `fanout sub`, subscribed: as many connections as it should have are listed. */
async function startSub(t, server, ...words) {
  const before = (await server.get('/api/v1/connections')).json().connections.length
  const sub = startProcess(t, 'fanout sub', BIN, ['sub', '--url', url(server), '--quiet', '--timeout', '30s', ...words])
  await until('it is connected', async () => (await server.get('/api/v1/connections')).json().connections.length > before)
  return sub
}

/** `fanout pub` with that stdin; what it said on stderr. */
async function pub(words, stdin) {
  const child = spawn(BIN, ['pub', ...words], { env: cleanEnv(), stdio: ['pipe', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => { said += text })
  child.stdin.end(stdin)
  const code = await new Promise((done) => child.once('close', done))
  assert.equal(code, 0, said)
  return said
}

/** What stands behind time, channel and cursor. */
const dataOf = (line) => line.replace(/^\S+ {2}\S+ {2}\S+ {2}/, '')

describe('fanout sub', () => {
  const at = shared(async (t) => ({ server: await startServer(t) }))

  test('a bare channel is watched, and the payload printed byte for byte', async (t) => {
    const sub = await startSub(t, at.server, 't:1', '--count', '5')
    const payloads = ['{"x":1}', '{"a" : [1,2, 3] ,"b":{}}', '[ 7 ]', 'no {"json": here', '']
    for (const payload of payloads) await at.server.publishRaw('t:1', payload)
    assert.equal((await sub.gone()).code, 0)
    const events = sub.lines.filter((line) => !/ state live$/.test(line))
    assert.deepEqual(events.map(dataOf), payloads)
    assert.match(events[0], /^\d\d:\d\d:\d\d\.\d{3} {2}t:1 {2}\w+:1 {2}\{"x":1\}$/)
  })

  test('several channels, those of users and rooms too', async (t) => {
    const sub = await startSub(t, at.server, 'user:ann', 'room:den', 't:2', '--json', '--count', '3')
    for (const channel of ['user:ann', 'room:den', 't:2']) await at.server.publish(channel, { to: channel })
    assert.equal((await sub.gone()).code, 0)
    const events = sub.lines.map((line) => JSON.parse(line)).filter((event) => !event.state)
    assert.deepEqual(events.map(({ data }) => data.to), events.map(({ channel }) => channel))
    assert.deepEqual(new Set(events.map(({ channel }) => channel)), new Set(['user:ann', 'room:den', 't:2']))
  })

  test('control bytes cannot steer a terminal, and every event is one line', async (t) => {
    const people = await startSub(t, at.server, '--user', 'eve', '--count', '3')
    const programs = await startSub(t, at.server, '--user', 'eve', '--json', '--count', '3')
    for (const payload of ['\x1b[2Jgone\r\n', '{"a":1,\n\t"b": 2}', ' 7 ']) await at.server.publishRaw('user:eve', payload)
    for (const sub of [people, programs]) assert.equal((await sub.gone()).code, 0)
    assert.deepEqual(people.lines.map((line) => line.replace(/^\S+ {2}user:eve {2}/, '')),
      ['\\x1b[2Jgone\\x0d\\n', '{"a":1,\\n\\t"b": 2}', ' 7 '])
    assert.equal(JSON.parse(programs.lines[0]).data, '\x1b[2Jgone\r\n')
    assert.ok(!programs.lines[0].includes('\x1b'))
    assert.equal(programs.lines[1], '{"channel":"user:eve","cursor":null,"data":{"a":1,\t"b": 2}}')
  })

  test('what is no address of a WebSocket is refused at once', async () => {
    for (const path of ['/sse?channel=t:1', '/poll?channel=t:1']) {
      const said = await fanout(['sub', `${url(at.server)}${path}`])
      assert.equal(said.code, 2)
      assert.match(said.stderr, /plain HTTP.*expected a WebSocket's URL, e\.g\. ws:/)
    }
    const other = await fanout(['sub', `${url(at.server)}/health?channel=t:1`])
    assert.equal(other.code, 1)
    assert.match(other.stderr, /answered 200: this is no WebSocket's address/)
  })

  test('a stream under another name is refused at once, too: its body never ends', async (t) => {
    const http = await import('node:http')
    const proxy = http.createServer((_, reply) => { reply.writeHead(200); reply.write('data: 1\n\n') })
    await new Promise((done) => proxy.listen(0, '127.0.0.1', done))
    t.after(() => { proxy.closeAllConnections(); proxy.close() })
    const said = await fanout(['sub', `http://127.0.0.1:${proxy.address().port}/events?channel=t:1`])
    assert.equal(said.code, 1)
    assert.match(said.stderr, /answered 200/)
  })

  test('wrong words are one sentence and status 2', async () => {
    for (const [words, sentence] of [
      [['t'], /"t": a channel is namespace:name, e\.g\. room:lobby; or give a URL/],
      [['UPPER:x'], /the namespace .* is made of a-z/],
      [[], /nothing to watch; give a channel/],
      [['t:1', '--user', 'u'], /give only one of/],
      [['ws://127.0.0.1/ws?room=x', 't:1'], /give only one of/],
      [['redis://127.0.0.1'], /no URL of the right kind/]]) {
      const said = await fanout(['sub', ...words])
      assert.equal(said.code, 2, words.join(' '))
      assert.match(said.stderr, sentence)
      assert.equal(said.stderr.trim().split('\n').length, 1)
    }
  })
})

describe('fanout pub', () => {
  const lines = ['first', '', ' ', '{"n": 1}', '', 'last without an end']

  test('every line of stdin is a message, empty ones too', async (t) => {
    const server = await startServer(t)
    const client = await connect(t, server, '?username=lines')
    assert.match(await pub(['user:lines', '--url', url(server)], lines.join('\n')), /published 6 messages/)
    await client.waitFrames(6)
    assert.deepEqual(client.texts, lines)
    assert.match(await pub(['user:lines', '--url', url(server), '--count', '2'], 'a\r\n\r\nb\n'), /published 2 messages/)
    assert.match(await pub(['user:lines', '--url', url(server)], ''), /published 0 messages/)
    await client.waitFrames(8)
    assert.deepEqual(client.texts.slice(6), ['a', ''])
  })

  test('over Redis as well, rooms included', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    const user = await connect(t, server, '?username=lines')
    const room = await connect(t, server, '?room=lines&client_id=me')
    for (const channel of ['user:lines', 'room:lines']) await pub([channel, '--redis', `redis://127.0.0.1:${redis.port}`], lines.join('\n'))
    for (const client of [user, room]) {
      await client.waitFrames(6)
      assert.deepEqual(client.texts, lines)
    }
  })
})

describe('--help', () => {
  test('serve and demo begin with what they are, how they are called, and examples', async () => {
    for (const role of ['serve', 'demo']) {
      const { code, stdout } = await fanout([role, '--help'])
      assert.equal(code, 0)
      assert.match(stdout, new RegExp(`^fanout ${role}: .+\\n\\nUsage: fanout ${role} \\[flags\\]\\n`))
      assert.match(stdout, new RegExp(`\\nExamples\\n  fanout ${role}\\n[^]*\\nGeneral\\n`))
    }
    assert.match((await fanout(['--help'])).stdout, /--version/)
  })
})
