// The client library in Chromium, as a page bundles it, against the gateway that serves the page. Proves:
// - connect() without an address is the page's own gateway; publish, history and events with the browser's WebSocket
//   and fetch; a connection that is cut continues at its cursor, a message that is lost is fetched
// - one bundle, no word in the console but the browser's own about refused connections
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { openPage } from '../support/browser.mjs'
import { startFaultProxy } from '../support/fault_proxy.mjs'
import { startServer, test, until } from '../support/harness.mjs'

const PACKAGE = fileURLToPath(new URL('../../clients/js/', import.meta.url))

function bundle() {
  const { buildSync } = createRequire(`${PACKAGE}package.json`)('esbuild')
  const { outputFiles } = buildSync({
    entryPoints: [`${PACKAGE}dist/index.js`], bundle: true, minify: true, format: 'iife', globalName: 'Fanout', platform: 'browser', write: false
  })
  return outputFiles[0].text
}

test('a page follows a channel through cuts and losses', async (t) => {
  const server = await startServer(t)
  const proxy = await startFaultProxy(t, server)
  const page = await openPage(t, `http://127.0.0.1:${proxy.port}/health`)
  await page.addScriptTag({ content: bundle() })
  const published = await page.evaluate(async () => {
    window.client = Fanout.connect(undefined, { backoff: { minMs: 20, maxMs: 200 }, idleMs: 500 })
    window.got = []
    const subscription = client.subscribe('page:x', { since: 'begin', onEvent: ({ data }) => got.push(data), onReset: () => got.push('reset') })
    await subscription.ready
    return client.publish('page:x', { from: 'a browser' })
  })
  assert.match(published.cursor, /^[a-z0-9]+:1$/)
  const got = () => page.evaluate(() => window.got)
  await until('it is back', async () => (await got()).length === 1)
  for (let i = 0; i < 40; i++) {
    if (i === 10 || i === 30) proxy.cut()
    proxy.faults.dropMessages = i % 4 === 1 ? 1 : 0
    await server.publish('page:x', i)
  }
  await until('all have come', async () => (await got()).length >= 41, { ms: 20_000 })
  assert.deepEqual(await got(), [{ from: 'a browser' }, ...Array.from({ length: 40 }, (_, i) => i)])
  await until('it is live', async () => await page.evaluate(() => window.client.state) === 'live')
  assert.equal(await page.evaluate(() => window.client.transport), 'websocket')
  assert.equal((await page.evaluate(() => client.history('page:x', { limit: 5 }))).events.length, 5)
  assert.deepEqual(page.problems.filter((text) => !/WebSocket connection|ERR_|Failed to load resource/.test(text)), [])
})
