// The plain page of `fanout demo` at `/plain`, which needs no build and is what `/` shows without one, used as a
// newcomer would. Proves:
// - it loads without an error in the console, asks nobody outside, and has a title
// - one types a username, a room or channels, sees published events arrive, publishes from the page
// - what cannot be sent is said before it is sent; what the server refuses is shown in its words
// - it comes back by itself when the server does, and says so; gaps and states are shown as such
// - it shows live figures that move
// - light, dark and narrow: nothing wider than the window; the policy in the headers is kept
// What the test holds on to, all by accessible name: text boxes "Username", "Room", "Channels", "Message";
// tabs "User", "Room", "Channels"; buttons "Connect" and "Publish"; a log (role log) of events; a figure
// labelled "Connections"; a badge (role status) with the state of the connection.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { connect, freePort, shared, startServer, test, until } from '../support/harness.mjs'

const on = (page) => ({
  tab: (name) => page.getByRole('tab', { name, exact: true }),
  username: page.getByRole('textbox', { name: /^user ?name/i }),
  room: page.getByRole('textbox', { name: /^room/i }),
  channels: page.getByRole('textbox', { name: /^channels/i }),
  message: page.getByRole('textbox', { name: /^(message|payload)/i }),
  connect: page.getByRole('button', { name: /^connect|^subscribe|^listen/i }).first(),
  disconnect: page.getByRole('button', { name: 'Disconnect' }),
  publish: page.getByRole('button', { name: /^publish|^send/i }).first(),
  badge: page.getByRole('status').filter({ hasText: /^(Offline|Connecting|Live|Reconnecting|Refused|Closed)/ }),
  log: page.getByRole('log'),
  connections: page.getByLabel(/^connections/i)
})

const inLog = (page, text) => until(`the log has ${text}`, async () => {
  const log = await on(page).log.innerText()
  if (text instanceof RegExp ? text.test(log) : log.includes(text)) return true
  throw new Error(`the log: ${log.slice(-600)}`)
})
const isState = (page, state, options) => until(`the badge says ${state}`, async () => (await on(page).badge.innerText()).startsWith(state), options)

/** Opens the page as this user and waits until it listens. */
async function listenAs(page, username) {
  await on(page).username.fill(username)
  await on(page).connect.click()
  await isState(page, 'Live')
}

describe('the plain page', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo' }) }))
  const open = (t, options) => openPage(t, `http://127.0.0.1:${at.server.port}/plain`, options)

  test('loads without a word in the console, with a title, and asks nobody outside', async (t) => {
    const page = await open(t)
    assert.match(await page.title(), /fanout/i)
    await until('the figures came', async () => /\d/.test(await on(page).connections.innerText()))
    assert.deepEqual(page.problems, [])
  })

  test('shows an event that was published elsewhere for the username typed', async (t) => {
    const page = await open(t)
    await on(page).username.fill('demo-user')
    await on(page).connect.click()
    await until('the page is connected', async () => (await at.server.get('/api/v1/connections?user=demo-user')).json().connections.length === 1)
    await at.server.publish('user:demo-user', { type: 'test', message: 'hello-page <b>&' })
    await inLog(page, 'hello-page <b>&')
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
    await inLog(page, 'by the page')
    assert.deepEqual(page.problems, [])
  })

  test('joins a room', async (t) => {
    const page = await open(t)
    const client = await connect(t, at.server, '?room=demo-room&client_id=t')
    await on(page).tab('Room').click()
    await on(page).room.fill('demo-room')
    await on(page).connect.click()
    await until('the page is a member', async () => (await at.server.get('/api/v1/connections?channel=room:demo-room')).json().connections.length === 2)
    await client.send('hello room')
    await inLog(page, 'hello room')
  })

  test('speaks in a room through its socket', async (t) => {
    const page = await open(t)
    const client = await connect(t, at.server, '?room=speak&client_id=t')
    await on(page).tab('Room').click()
    await on(page).room.fill('speak')
    await on(page).connect.click()
    await isState(page, 'Live')
    await page.getByRole('checkbox', { name: /socket/i }).check()
    await on(page).message.fill('not JSON, and fine')
    await on(page).message.press('Control+Enter')
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['not JSON, and fine'])
    await inLog(page, 'not JSON, and fine')
    assert.deepEqual(page.problems, [])
  })

  test('says what is wrong with a message before it is sent, and sends it as text', async (t) => {
    const page = await open(t)
    const client = await connect(t, at.server, '?username=texts')
    await listenAs(page, 'texts')
    await on(page).message.fill('{"open": ')
    await page.getByText(/Not JSON/).waitFor()
    await on(page).publish.click()
    await page.getByRole('radio', { name: 'Text' }).check()
    await on(page).publish.click()
    await client.waitFrames(1)
    assert.deepEqual(client.texts, ['{"open": '])
  })

  test('shows the cursor of what it published', async (t) => {
    const page = await open(t)
    await on(page).publish.click()
    await page.getByText(/^Published at [a-z0-9]+:\d+ in/).waitFor()
  })

  test('shows states and cursors of channels, and payloads that are not JSON', async (t) => {
    const page = await open(t)
    await on(page).tab('Channels').click()
    await on(page).channels.fill('room:seen\nuser:seen')
    await on(page).connect.click()
    await inLog(page, /State: live\. room:seen at [a-z0-9]+:\d+/)
    await inLog(page, /State: live\. user:seen/)
    const { cursor } = await at.server.publish('user:seen', { deep: [1, { id: 'x' }] })
    await inLog(page, cursor)
    await at.server.publishRaw('room:seen', 'plain <i>text</i>')
    await inLog(page, 'plain <i>text</i>')
    await at.server.publishRaw('room:seen', [0xff, 0x00, 0x41])
    await inLog(page, '3 B of binary: ff 00 41')
    await at.server.publishRaw('room:seen', '{"long":12345678901234567890,"data":[{"data":"x,}"}]}')
    await on(page).log.getByText('12345678901234567890').click()
    await inLog(page, /"long": 12345678901234567890,\s+"data": \[\s+\{\s+"data": "x,\}"\s+\}\s+\]/)
    assert.deepEqual(page.problems, [])
  })

  test('shows a gap as one', async (t) => {
    const page = await open(t)
    await page.routeWebSocket(/\/ws\?/, (socket) => {
      socket.send('{"channel":"room:x","state":"live","cursor":"e1:39"}')
      socket.send('{"gap":{"channel":"room:x","from":40,"to":52,"reason":"slow"}}')
    })
    await page.reload() // The route holds from the next document on.
    await on(page).tab('Channels').click()
    await on(page).channels.fill('room:x')
    await on(page).connect.click()
    await inLog(page, /Gap: 13 events missed\. room:x, offsets 40 to 52, because: slow/)
  })

  test('replays what is kept when asked to', async (t) => {
    await at.server.publish('user:kept', { message: 'from before' })
    const page = await open(t)
    await on(page).username.fill('kept')
    await page.getByRole('checkbox', { name: /replay/i }).check()
    await on(page).connect.click()
    await inLog(page, 'from before')
  })

  test('pauses without losing, clears, and keeps 500 rows', async (t) => {
    const page = await open(t)
    await listenAs(page, 'many')
    await page.getByRole('button', { name: 'Pause' }).click()
    await at.server.publish('user:many', { message: 'while paused' })
    await page.getByRole('button', { name: 'Resume (1)' }).waitFor()
    assert.doesNotMatch(await on(page).log.innerText(), /while paused/)
    await page.getByRole('button', { name: /^Resume/ }).click()
    await inLog(page, 'while paused')
    await page.getByRole('button', { name: 'Clear' }).click()
    await until('the log is empty', async () => (await on(page).log.innerText()) === '')
    for (let i = 0; i < 600; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, j) => at.server.publish('user:many', { n: i + j })))
    }
    await page.getByText('600 received, the last 500 rows kept').waitFor()
    assert.equal(await on(page).log.locator('details').count(), 500)
    assert.deepEqual(page.problems, [])
  })

  test('runs the sample workflow with one click, from the very start', async (t) => {
    const page = await open(t)
    const client = await connect(t, at.server, '?username=alice')
    await page.getByRole('button', { name: /sample workflow/i }).click()
    await inLog(page, 'workflow_completed')
    await client.waitFrames(4)
    const events = client.json
    assert.deepEqual(events.map((e) => e.type), ['workflow_started', 'node_completed', 'node_completed', 'workflow_completed'])
    assert.deepEqual(events.map((e) => e.counter), [undefined, 1, 0, 0])
    assert.equal(new Set(events.map((e) => e.run_id)).size, 1)
    assert.deepEqual(page.problems, [])
  })

  test('refuses names the gateway would refuse, at the field', async (t) => {
    const page = await open(t)
    await on(page).username.fill('')
    await on(page).connect.click()
    await page.getByText('The username is empty.').waitFor()
    await on(page).tab('Channels').click()
    await on(page).channels.fill('no-namespace')
    await on(page).connect.click()
    await page.getByText(/is no channel/).waitFor()
    await isState(page, 'Offline')
    assert.deepEqual(page.problems, [])
  })

  test('connects by itself from the address, and disconnects', async (t) => {
    const page = await openPage(t, `http://127.0.0.1:${at.server.port}/plain#room=by-address&as=me`)
    await isState(page, 'Live')
    const [member] = (await at.server.get('/api/v1/connections?channel=room:by-address')).json().connections
    assert.ok(member)
    await on(page).disconnect.click()
    await isState(page, 'Offline')
    await until('the member is gone', async () => (await at.server.get('/api/v1/connections?channel=room:by-address')).json().connections.length === 0)
  })

  test('the tabs and the rows can be used with the keyboard', async (t) => {
    const page = await open(t)
    await on(page).tab('User').focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('Tab')
    await page.keyboard.press('ControlOrMeta+A')
    await page.keyboard.type('keys')
    await page.keyboard.press('Enter')
    await isState(page, 'Live')
    await at.server.publishRaw('room:keys', '{"by":{"keyboard":true}}')
    await inLog(page, 'keyboard')
    await on(page).log.locator('summary').focus()
    await page.keyboard.press('Enter')
    await inLog(page, /"keyboard": true/)
  })

  test('shows live figures that move', async (t) => {
    const page = await open(t)
    const figure = async () => Number((await on(page).connections.innerText()).replace(/\D/g, ''))
    const before = await until('a figure', async () => { const n = await figure(); return Number.isInteger(n) && { n } })
    for (let i = 0; i < 7; i++) await connect(t, at.server, '?username=figure')
    await until('it has risen by 7', async () => await figure() >= before.n + 7, { ms: 10_000 })
  })

  test('shows what was delivered, and how fast', async (t) => {
    const page = await open(t)
    await listenAs(page, 'fast')
    const delivered = page.getByLabel(/^delivered/i)
    await until('a figure', async () => /\d/.test(await delivered.innerText()))
    for (let i = 0; i < 20; i++) await at.server.publish('user:fast', { i })
    await until('deliveries are counted', async () => Number((await delivered.innerText()).replace(/\D/g, '')) >= 20)
    await page.getByText(/^p50 [\d.]+ (µs|ms)/).waitFor()
    assert.deepEqual(page.problems, [])
  })

  for (const colorScheme of ['light', 'dark']) {
    for (const [width, height] of [[400, 800], [768, 1000], [1000, 700], [1440, 900]]) {
      test(`fits a window of ${width} × ${height}, ${colorScheme}, and keeps its policy`, async (t) => {
        const page = await open(t, { colorScheme, viewport: { width, height } })
        await page.evaluate(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`)))
        const name = 'wide'.repeat(60)
        await on(page).username.fill(name)
        await on(page).connect.click()
        await isState(page, 'Live')
        await at.server.publish(`user:${name}`, { type: 'a_rather_long_type_of_event'.repeat(3), long: 'x'.repeat(2000) })
        await inLog(page, 'xxxx')
        await on(page).log.locator('summary').click()
        await inLog(page, /"long": "x/)
        const [content, window, background] = await page.evaluate(() =>
          [document.documentElement.scrollWidth, innerWidth, getComputedStyle(document.body).backgroundColor])
        assert.ok(content <= window, `${content} px in ${window}`)
        const bright = Number(/\d+/.exec(background)[0]) > 128
        assert.equal(bright, colorScheme === 'light', background)
        assert.deepEqual(page.problems, [])
      })
    }
  }
})

describe('the plain page and a server that goes away', () => {
  // A refused connection is an error in Chromium's console whatever the page does.
  const unexpected = (page) => page.problems.filter((problem) => !/ERR_CONNECTION_|Error in connection establishment|Failed to load resource|ERR_ABORTED/.test(problem))

  test('comes back by itself, says what it missed, and the figures go on', async (t) => {
    const port = await freePort()
    const first = await startServer(t, { role: 'demo', port })
    const page = await openPage(t, `http://127.0.0.1:${port}/plain`)
    await on(page).tab('Channels').click()
    await on(page).channels.fill('room:back')
    await on(page).connect.click()
    await isState(page, 'Live')
    await first.stop()
    await isState(page, 'Reconnecting')
    await inLog(page, /Connection lost\..*restarting/)
    await page.getByText(/The gateway does not answer/).waitFor()
    await on(page).publish.click()
    await page.getByText('The gateway does not answer; nothing was published.').waitFor()

    const second = await startServer(t, { role: 'demo', port })
    await isState(page, 'Live', { ms: 25_000 })
    await inLog(page, /State: reset\. room:back/)
    await second.publish('room:back', { message: 'after the restart' })
    await inLog(page, 'after the restart')
    await page.getByText('of this gateway, every second').waitFor()
    assert.deepEqual(unexpected(page), [])
  })

  test('a retry can be asked for', async (t) => {
    const port = await freePort()
    const first = await startServer(t, { role: 'demo', port })
    const page = await openPage(t, `http://127.0.0.1:${port}/plain`)
    await listenAs(page, 'eager')
    await page.evaluate(() => { Math.random = () => 1000 }) // By itself it would try again in minutes.
    await first.stop()
    await isState(page, 'Reconnecting')
    await startServer(t, { role: 'demo', port })
    await page.getByRole('button', { name: 'Retry now' }).click()
    await isState(page, 'Live')
    await inLog(page, /Live again as user eager/)
    assert.deepEqual(unexpected(page), [])
  })

  test('an operator who cuts it off is not met by a reconnection', async (t) => {
    const server = await startServer(t, { role: 'demo' })
    const page = await openPage(t, `http://127.0.0.1:${server.port}/plain`)
    await listenAs(page, 'cut')
    const [{ id }] = (await server.get('/api/v1/connections?user=cut')).json().connections
    assert.equal((await server.delete(`/api/v1/connections/${id}`)).status, 204)
    await isState(page, 'Closed')
    await inLog(page, /Closed by the gateway \(1008\)/)
    assert.deepEqual(unexpected(page), [])
  })
})
