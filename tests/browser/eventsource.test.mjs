// Chromium's own EventSource as the client. Proves:
// - onmessage fires for events by user and by channel; notices have names of their own
// - a block without data is no event, and moves the id all the same
// - it comes back by itself, with its last id, and misses nothing: one channel, and several
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { shared, startServer, test, until } from '../support/harness.mjs'
import { startNginx } from '../support/sse.mjs'

/** Opens an EventSource in the page and keeps what it dispatches. */
const open = (page, path) => page.evaluate((path) => new Promise((done) => {
  const source = new EventSource(path)
  window.book = { got: [], states: [], lastId: '', opened: 0 }
  source.onopen = () => { window.book.opened++ }
  source.onmessage = ({ data, lastEventId }) => { window.book.got.push(data); window.book.lastId = lastEventId }
  source.addEventListener('state', ({ data }) => { window.book.states.push(JSON.parse(data)); done() })
}), path)
const received = (page, count) => until(`${count} events in the page`, async () => {
  const book = await page.evaluate(() => window.book)
  return book.got.length >= count && book
}, { ms: 20_000 })

describe("Chromium's EventSource, behind nginx", () => {
  const at = shared(async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'few:history_messages=5'] })
    return { server, nginx: await startNginx(t, server) }
  })
  const pageOf = (t) => openPage(t, `${at.nginx.url}/health`)

  test('events by user arrive as strings, line feeds included', async (t) => {
    const page = await pageOf(t)
    await open(page, '/sse?username=frank')
    const payloads = ['{"type":"test"}', '', 'é😀', 'a\nb\n', 'x'.repeat(100_000)]
    for (const payload of payloads) await at.server.publishRaw('user:frank', payload)
    assert.deepEqual((await received(page, payloads.length)).got, payloads)
  })

  test('it comes back with its last id after its connection was cut', async (t) => {
    const page = await pageOf(t)
    await open(page, '/sse?username=grace')
    await at.server.publish('user:grace', 1)
    await received(page, 1)
    const row = (await at.server.get('/api/v1/connections?user=grace')).json().connections[0]
    assert.equal((await at.server.delete(`/api/v1/connections/${row.id}`)).status, 204)
    for (const n of [2, 3]) await at.server.publish('user:grace', n)
    const book = await received(page, 3)
    assert.deepEqual(book.got, ['1', '2', '3'])
    assert.deepEqual(book.states.map(({ state }) => state), ['live', 'replayed'])
  })

  test('a block that is only an id moves the id it comes back with, and is no event', async (t) => {
    const page = await pageOf(t)
    await open(page, '/sse?channel=few:1&types=mine')
    for (let i = 0; i < 20; i++) await at.server.publish('few:1', { type: 'other' })
    const row = (await at.server.get('/api/v1/connections?channel=few:1')).json().connections[0]
    await new Promise((done) => setTimeout(done, 20_000)) // A heartbeat and its delay; nothing can be seen of it in the page.
    assert.equal((await at.server.delete(`/api/v1/connections/${row.id}`)).status, 204)
    await at.server.publish('few:1', { type: 'mine' })
    const book = await received(page, 1)
    assert.deepEqual(book.states.map(({ state }) => state), ['live', 'replayed'])
    assert.match(book.states[1].cursor, /:20$/)
    assert.equal(book.got.length, 1)
  })

  test('several channels go on from the list that came by itself', async (t) => {
    const page = await pageOf(t)
    await open(page, '/sse?channel=two:a&channel=two:b')
    await at.server.publish('two:a', 1)
    await at.server.publish('two:b', 2)
    await received(page, 2)
    await at.nginx.restart()
    for (const [channel, n] of [['two:a', 3], ['two:b', 4]]) await at.server.publish(channel, n)
    const book = await received(page, 4)
    assert.deepEqual(book.got.map((text) => JSON.parse(text).data).sort(), [1, 2, 3, 4])
    assert.ok(book.states.slice(2).every(({ state }) => state === 'replayed'), JSON.stringify(book.states))
  })
})
