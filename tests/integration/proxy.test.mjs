// The nginx of docs/operations.md "Exposure", as it stands there but for its two ports. Proves:
// - WebSockets, event streams and long polls come through, events at once, and so does the history
// - publishing, the listing, cutting off, metrics and probes are not reached, however the path is written
// - without Sec-WebSocket-Protocol, the line that is commented out, fanout.v1 is not spoken
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { describe } from 'node:test'
import { connect, freePort, shared, startProcess, startServer, tempDir, test, until } from '../support/harness.mjs'
import { EventStream } from '../support/sse.mjs'

/** The example's text, changed by edit(), as the nginx in front of a server. */
async function startExample(t, server, edit = (text) => text) {
  const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, example] = /```nginx\n([^]*?)```/.exec(page)
  const dir = tempDir(t, 'proxy')
  const port = await freePort()
  const text = edit(example).replace('listen 80;', `listen 127.0.0.1:${port};`).replace('127.0.0.1:8084', `127.0.0.1:${server.port}`)
  mkdirSync(join(dir, 'temp'))
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(dir, 'temp', kind)};`)
  writeFileSync(join(dir, 'nginx.conf'), `daemon off;\nmaster_process off;\npid ${join(dir, 'pid')};\nerror_log stderr;
events { worker_connections 256; }\nhttp {\naccess_log off;\n${temp.join('\n')}\n${text}\n}\n`)
  const nginx = startProcess(t, `nginx on ${port}`, 'nginx', ['-p', dir, '-c', join(dir, 'nginx.conf')])
  await until('nginx answers', async () => {
    if (nginx.exit) throw new Error(nginx.output)
    return (await fetch(`http://127.0.0.1:${port}/`)).status === 404
  })
  const path = (query) => `ws://127.0.0.1:${port}/ws${query}`
  /** The path goes out as it is written: fetch() would tidy it up. */
  const request = (method, path, body = '') => new Promise((done, fail) => {
    const sent = http.request({ method, path, host: '127.0.0.1', port, agent: false, headers: { 'content-length': Buffer.byteLength(body) } }, (reply) => {
      let text = ''
      reply.setEncoding('utf8').on('data', (part) => { text += part }).on('end', () => done({ status: reply.statusCode, text }))
    })
    sent.on('error', fail)
    sent.end(body)
  })
  return { host: '127.0.0.1', port, path, request, url: `http://127.0.0.1:${port}` }
}

describe('behind the nginx of docs/operations.md', () => {
  const at = shared(async (t) => {
    const server = await startServer(t)
    return { server, proxy: await startExample(t, server) }
  })

  test('WebSockets come through, both ways, with fanout.v1 too', async (t) => {
    const ann = await connect(t, at.proxy, '?room=den&client_id=ann')
    const bob = await connect(t, at.proxy, '?room=den&client_id=bob')
    await ann.send('hello')
    await bob.waitFrames(1)
    assert.match(bob.texts[0], /hello/)
    const v1 = await connect(t, at.proxy, '', { protocols: ['fanout.v1'] })
    await v1.send('{"id":1,"ping":{}}')
    await v1.waitFrames(1)
    assert.equal(v1.json[0].id, 1)
  })

  test('events of a stream come at once, a poll and the history answer', async (t) => {
    const stream = await EventStream.open(t, `${at.proxy.url}/sse?channel=feed:a`)
    await at.server.publish('feed:a', 1)
    await stream.waitMessages(1)
    const poll = at.proxy.request('GET', '/poll?channel=feed:a&since=begin&wait=20')
    assert.equal(JSON.parse((await poll).text).events.length, 1)
    const waiting = at.proxy.request('GET', '/poll?channel=feed:b&wait=20')
    await until('the poll waits', async () => (await at.server.get('/api/v1/connections?channel=feed:b')).json().connections.length === 1)
    await at.server.publish('feed:b', 2)
    assert.equal(JSON.parse((await waiting).text).events[0].data, 2)
    for (const name of ['feed:a', 'feed%3Aa']) {
      const history = await at.proxy.request('GET', `/api/v1/channels/${name}/history?since=begin`)
      assert.equal(JSON.parse(history.text).events.length, 1, history.text)
    }
  })

  test('what is not for the outside is not reached', async (t) => {
    const victim = await connect(t, at.server, '?username=victim')
    const [{ id }] = (await at.server.get('/api/v1/connections?user=victim')).json().connections
    for (const path of ['/metrics', '/admin/stats', '/health', '/healthz', '/ready', '/api/v1/connections', '/api/v1/connections?user=victim',
      '//metrics', '/./metrics', '/ws/../metrics', '/ws/%2e%2e/metrics', '/%6detrics', '/ws%2f..%2fmetrics', '/api/v1/runs/x/../../connections']) {
      assert.equal((await at.proxy.request('GET', path)).status, 404, path)
    }
    for (const path of [`/api/v1/connections/${id}`, `/api/v1/connections/${id}%2f..%2f..%2f..%2f..%2fws`, `/api/v1/connections/${id}/history`]) {
      assert.ok((await at.proxy.request('DELETE', path)).status >= 400, path)
    }
    const body = '{"channel":"user:victim","data":"no"}'
    for (const path of ['/api/v1/publish', '/api/v1/channels/user:victim', '/api/v1/channels/user:victim/history', '/api/v1/publish/x/../',
      '/api/v1/channels/user:victim%2f..%2f..%2f..%2f..%2fws', '/api/v1/channels/user:victim%2fhistory', '/api/v1/publish%2f..%2f..%2f..%2fsse']) {
      assert.ok((await at.proxy.request('POST', path, body)).status >= 400, path)
    }
    await at.server.publish('user:victim', 'yes')
    await victim.waitFrames(1)
    assert.deepEqual(victim.texts, ['"yes"'])
    assert.equal((await at.server.metrics()).value('fanout_publications_total', { namespace: 'user' }), 1)
  })
})

test('without the header of subprotocols clients read and do not publish', async (t) => {
  const server = await startServer(t)
  const proxy = await startExample(t, server, (text) => text.replace(/# (proxy_set_header Sec-WebSocket-Protocol)/, '$1'))
  await assert.rejects(connect(t, proxy, '', { protocols: ['fanout.v1'] }))
  const reader = await connect(t, proxy, '?channel=feed:a')
  await reader.waitFrames(1)
  await reader.send('{"id":1,"publish":{"channel":"feed:a","data":"no"}}').catch(() => {})
  const other = await connect(t, proxy, '?channel=feed:a')
  await server.publish('feed:a', 'yes')
  await other.waitFrames(2)
  assert.equal(other.json[1].data, 'yes')
})
