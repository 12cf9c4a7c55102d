// `fanout demo` without a browser: what it says on start and what it serves at `/`. Proves:
// - the page and its files come with type, tag and the headers that keep strangers out of it; gzipped for who asks, and for
//   ever where the name holds a digest
// - If-None-Match is answered 304 without a body, whatever form the list has; another tag gets the file
// - the page names no address of the outside and holds no script or style of its own text
// - `fanout serve` has no page; a port in use is one clear sentence; the start block tells how to go on
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { assertError, fanout, shared, startServer, test } from '../support/harness.mjs'

const FILES = {
  '/': /^text\/html; charset=utf-8$/,
  '/plain': /^text\/html; charset=utf-8$/,
  '/theme.js': /^text\/javascript; charset=utf-8$/,
  '/style.css': /^text\/css; charset=utf-8$/,
  '/app.js': /^text\/javascript; charset=utf-8$/,
  '/icon.svg': /^image\/svg\+xml$/,
  '/favicon.ico': /^image\/svg\+xml$/
}

describe('the files of the demo page', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo' }) }))

  for (const [path, type] of Object.entries(FILES)) {
    test(`${path} comes with its type, a tag and a strict policy`, async () => {
      const reply = await at.server.get(path)
      assert.equal(reply.status, 200)
      assert.match(reply.headers['content-type'], type)
      assert.match(reply.headers.etag, /^"[0-9a-f]{20}"$/)
      assert.equal(reply.headers['cache-control'], 'no-cache')
      assert.equal(reply.headers['x-content-type-options'], 'nosniff')
      assert.equal(reply.headers['referrer-policy'], 'no-referrer')
      const policy = reply.headers['content-security-policy']
      for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]) {
        assert.ok(policy.split('; ').includes(rule), `${rule} in ${policy}`)
      }
      assert.doesNotMatch(policy, /unsafe|https?:|\*/)
      assert.equal(Number(reply.headers['content-length']), reply.body.length)
      assert.ok(reply.body.length > 100)
    })
  }

  test('HEAD has the headers of GET and no body', async () => {
    const [get, head] = [await at.server.get('/app.js'), await at.server.request('HEAD', '/app.js')]
    assert.equal(head.status, 200)
    assert.equal(head.body.length, 0)
    for (const name of ['etag', 'content-type', 'content-length']) assert.equal(head.headers[name], get.headers[name])
  })

  test('a browser that has the file gets 304 without a body', async () => {
    const { etag } = (await at.server.get('/app.js')).headers
    for (const list of [etag, `W/${etag}`, `"other", ${etag}`, `W/"x",${etag} ,"y"`, '*']) {
      const reply = await at.server.get('/app.js', { headers: { 'if-none-match': list } })
      assert.equal(reply.status, 304, list)
      assert.equal(reply.body.length, 0)
      assert.equal(reply.headers.etag, etag)
      assert.equal(reply.headers['cache-control'], 'no-cache')
      assert.equal(reply.headers['content-length'], undefined)
    }
  })

  test('another tag gets the file', async () => {
    const { etag } = (await at.server.get('/app.js')).headers
    const other = (await at.server.get('/style.css')).headers.etag
    assert.notEqual(etag, other)
    for (const list of [other, etag.slice(1, -1), `${etag.slice(0, -2)}"`, 'W/', ',', ' ,, ', '""', '']) {
      const reply = await at.server.get('/app.js', { headers: { 'if-none-match': list } })
      assert.equal(reply.status, 200, list)
      assert.ok(reply.body.length > 0)
    }
  })

  test('the connection goes on after a 304', async () => {
    const { etag } = (await at.server.get('/')).headers
    const http = await import('node:http')
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    try {
      for (const [headers, status] of [[{ 'if-none-match': etag }, 304], [{}, 200], [{ 'if-none-match': etag }, 304], [{}, 200]]) {
        const reply = await at.server.get('/', { headers, agent })
        assert.equal(reply.status, status)
        assert.equal(reply.body.length > 0, status === 200)
      }
    } finally { agent.destroy() }
  })

  test('no file names an address outside, and the page holds no inline script or style', async () => {
    for (const path of ['/', '/theme.js', '/plain', '/style.css', '/app.js', '/icon.svg']) {
      const text = (await at.server.get(path)).text.replaceAll('http://www.w3.org/2000/svg', '')
      assert.doesNotMatch(text, /https?:\/\/\w|@import|\burl\(/, path)
    }
    for (const path of ['/', '/plain']) {
      const page = (await at.server.get(path)).text
      assert.doesNotMatch(page, /<style|\sstyle=|\son\w+=/)
      for (const [, attributes, body] of page.matchAll(/<script([^>]*)>([^<]*)</g)) {
        assert.match(attributes, /src="\//)
        assert.equal(body.trim(), '')
      }
    }
  })

  test('what the page is built into is kept for ever, and small', async () => {
    const page = (await at.server.get('/')).text
    const names = [...page.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, name]) => name)
    assert.ok(names.length >= 2, page)
    let size = 0
    for (const name of names) {
      const reply = await at.server.get(name, { headers: { 'accept-encoding': 'gzip' } })
      assert.equal(reply.status, 200, name)
      assert.equal(reply.headers['cache-control'], 'public, max-age=31536000, immutable')
      assert.equal(reply.headers['content-encoding'], 'gzip')
      size += reply.body.length
    }
    assert.ok(size < 135_000, `${size} bytes gzipped`)
    assertError(await at.server.get('/assets/index-00000000.js'), 404)
  })

  test('gzip for who asks for it, and a tag of its own', async () => {
    const whole = await at.server.get('/app.js', { headers: { 'accept-encoding': 'identity' } })
    assert.equal(whole.headers['content-encoding'], undefined)
    for (const accept of ['gzip', 'br, GZIP', 'deflate;q=0.5, gzip;q=0.1', 'gzip ; q=1.0']) {
      const reply = await at.server.get('/app.js', { headers: { 'accept-encoding': accept } })
      assert.equal(reply.headers['content-encoding'], 'gzip', accept)
      assert.equal(reply.headers.vary, 'Accept-Encoding')
      assert.notEqual(reply.headers.etag, whole.headers.etag)
      assert.deepEqual(gunzipSync(reply.body), whole.body)
      const known = await at.server.get('/app.js', { headers: { 'accept-encoding': accept, 'if-none-match': reply.headers.etag } })
      assert.equal(known.status, 304)
      assert.equal(known.headers['content-encoding'], undefined)
    }
    for (const accept of ['', '*', 'br', 'gzip;q=0', 'gzip; q=0.000, br', 'x-gzipped']) {
      const reply = await at.server.get('/app.js', { headers: { 'accept-encoding': accept } })
      assert.equal(reply.headers['content-encoding'], undefined, accept)
      assert.deepEqual(reply.body, whole.body)
    }
  })

  test('other methods and paths are refused as everywhere', async () => {
    assert.equal((await at.server.post('/', '')).status, 405)
    assertError(await at.server.get('/index.html'), 404)
    assertError(await at.server.get('/../app.js'), 404)
  })

  test('what serve answers, demo answers too', async () => {
    assert.equal((await at.server.get('/health')).text, 'OK')
    assert.match((await at.server.publish('user:demo', { a: 1 })).cursor, /^[a-z0-9]+:\d+$/)
  })
})

describe('starting the demo', () => {
  test('says where the page is, how to publish, which broker it runs and how to stop', async (t) => {
    const server = await startServer(t, { role: 'demo' })
    const page = new RegExp(`Page +http://127\\.0\\.0\\.1:${server.port}/$`, 'm')
    await server.waitLine(/Stop/)
    assert.match(server.output, page)
    assert.match(server.output, /Redis publishers are not heard/)
    assert.match(server.output, /--redis-host/)
    assert.match(server.output, /Ctrl-C/)
    const curl = server.lines.find((line) => line.includes('curl -d'))
    const [, body, url] = /curl -d '(.*)' (\S+)$/.exec(curl)
    const reply = await server.post(new URL(url).pathname, body, { headers: { 'content-type': 'application/x-www-form-urlencoded' } })
    assert.equal(reply.status, 200, reply.text)
  })

  test('a port in use is one sentence and status 1', async (t) => {
    const server = await startServer(t, { role: 'demo' })
    const second = await fanout(['demo', '--listen', `127.0.0.1:${server.port}`])
    assert.equal(second.code, 1)
    assert.match(second.stderr, new RegExp(`127\\.0\\.0\\.1:${server.port}: another program listens there already; .*--listen`))
    assert.equal(second.stdout, '')
  })

  test('fanout serve has no page', async (t) => {
    const server = await startServer(t)
    for (const path of Object.keys(FILES)) assertError(await server.get(path), 404)
  })
})
