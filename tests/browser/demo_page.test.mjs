// The page of `fanout demo` at `/`, used as a newcomer would. Proves:
// - it loads without an error in the console, asks nobody outside, and has a title
// - one types a username or a room, sees published events arrive, publishes one from the page
// - it shows live figures that move
// What the test holds on to, all by accessible name: text boxes "Username", "Room", "Message"; buttons
// "Connect" and "Publish"; a log (role log) of events; a figure labelled "Connections".
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { connect, shared, startServer, test, until } from '../support/harness.mjs'

const on = (page) => ({
  username: page.getByLabel(/^user ?name/i),
  room: page.getByLabel(/^room/i),
  message: page.getByLabel(/^(message|payload)/i),
  connect: page.getByRole('button', { name: /^connect|^subscribe|^listen/i }).first(),
  publish: page.getByRole('button', { name: /^publish|^send/i }).first(),
  log: page.getByRole('log'),
  connections: page.getByLabel(/^connections/i)
})

describe('the demo page', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo' }) }))
  const open = (t) => openPage(t, `http://127.0.0.1:${at.server.port}/`)

  test('loads without a word in the console, with a title, and asks nobody outside', async (t) => {
    const page = await open(t)
    assert.match(await page.title(), /fanout/i)
    await page.waitForLoadState('networkidle')
    assert.deepEqual(page.problems, [])
  })

  test('shows an event that was published elsewhere for the username typed', async (t) => {
    const page = await open(t)
    await on(page).username.fill('demo-user')
    await on(page).connect.click()
    await until('the page is connected', async () => (await at.server.get('/api/v1/connections?user=demo-user')).json().connections.length === 1)
    await at.server.publish('user:demo-user', { type: 'test', message: 'hello-page <b>&' })
    await until('the event is on the page', async () => (await on(page).log.innerText()).includes('hello-page <b>&'))
    assert.deepEqual(page.problems, [])
  })

  test('publishes from the page to every socket of that user', async (t) => {
    const page = await open(t)
    const client = await connect(t, at.server, '?username=from-page')
    await on(page).username.fill('from-page')
    await on(page).connect.click()
    await until('the page is connected', async () => (await at.server.get('/api/v1/connections?user=from-page')).json().connections.length === 2)
    await on(page).message.fill('{"said":"by the page"}')
    await on(page).publish.click()
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['{"said":"by the page"}'])
    await until('the page shows it as well', async () => (await on(page).log.innerText()).includes('by the page'))
    assert.deepEqual(page.problems, [])
  })

  test('joins a room', async (t) => {
    const page = await open(t)
    const client = await connect(t, at.server, '?room=demo-room&client_id=t')
    await on(page).room.fill('demo-room')
    await on(page).connect.click()
    await until('the page is a member', async () => (await at.server.get('/api/v1/connections?channel=room:demo-room')).json().connections.length === 2)
    await client.send('hello room')
    await until('the message is on the page', async () => (await on(page).log.innerText()).includes('hello room'))
  })

  test('shows live figures that move', async (t) => {
    const page = await open(t)
    const figure = async () => Number((await on(page).connections.innerText()).replace(/\D/g, ''))
    const before = await until('a figure', async () => { const n = await figure(); return Number.isInteger(n) && { n } })
    for (let i = 0; i < 7; i++) await connect(t, at.server, '?username=figure')
    await until('it has risen by 7', async () => await figure() >= before.n + 7, { ms: 10_000 })
  })
})
