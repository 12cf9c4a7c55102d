// The page at `/` of `fanout demo`, in Chromium, against the gateway that serves it. Proves:
// - events appear live: a run's lanes, counter and terminal state, and the list with payloads; also of a run that began
//   before the page, and after a reload
// - with the WebSocket broken the page says polling and loses nothing; 30 % of its messages lost are fetched, none is shown
//   twice; offline is said, and what was missed comes when it is back; a gateway that goes and comes back too
// - a room is heard and spoken in from two pages and from a raw socket
// - names that cannot be are refused at the field; the list keeps 1,000 rows and says so
// - tabs, switches and rows with the keyboard; light, dark and the system's choice; 360 to 1440 px wide without a sideways
//   scroll; nothing moves while it loads; no console error, no violation of its policy, nobody outside is asked
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { connect, freePort, shared, startServer, test, until } from '../support/harness.mjs'

const on = (page) => ({
  badge: page.locator('header').getByRole('status'),
  tab: (name) => page.getByRole('tab', { name, exact: true }),
  switch: (name) => page.getByRole('switch', { name }),
  button: (name) => page.getByRole('button', { name, exact: true }),
  lane: (name) => page.getByRole('list', { name: 'Nodes' }).getByRole('listitem').filter({ hasText: name }),
  log: page.getByRole('log'),
  rows: page.getByRole('log').locator('details')
})

/** A figure of the counters or of the run by its label. */
const figure = async (page, label) => (await page.locator('dl > div', { has: page.locator('dt', { hasText: new RegExp(`^${label}$`) }) }).locator('dd').innerText()).trim()
const number = async (page, label) => Number((await figure(page, label)).replaceAll(',', ''))
const isState = (page, state, options) => until(`the badge says ${state}`, async () => {
  const text = await on(page).badge.innerText()
  if (text === state) return true
  throw new Error(`it says ${text}`)
}, options)

/** The numbers `n` in the list, in the order in which they are shown. */
const shown = (page) => page.getByRole('log').locator('.preview').evaluateAll((all) => all.map((one) => /^n (\d+)/.exec(one.textContent)?.[1]).filter(Boolean).map(Number))
const range = (count, from = 0) => Array.from({ length: count }, (_, i) => from + i)
const allShown = (page, count, options) => until(`all ${count} are shown`, async () => {
  const numbers = await shown(page)
  if (numbers.length >= count) return true
  throw new Error(`${numbers.length} are`)
}, options)

/** A refused or failed request is an error in Chromium's console whatever the page does about it. */
const unexpected = (page) => page.problems.filter((problem) => !/ERR_CONNECTION_|ERR_ABORTED|Failed to load resource|Error in connection|WebSocket connection/.test(problem))

const RUN_EVENTS = [
  { type: 'workflow_started', tag: 'two-step', nodes: 2, entry_nodes: 1 },
  { type: 'node_started', node_id: 'first', attempt: 1 },
  { type: 'node_completed', node_id: 'first', status: 'completed', counter: 1, result_ref: 'sha256:00' },
  { type: 'node_started', node_id: 'second', attempt: 1 },
  { type: 'something_new', node_id: 'second' },
  { type: 'node_failed', node_id: 'second', status: 'failed', attempt: 1, error: 'no luck', will_retry: false },
  { type: 'workflow_failed', node_id: 'second', error: 'second: no luck', counter: 0, duration_ms: 4321 }
]

describe('the page', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { role: 'demo' }) }))
  const url = (hash = '') => `http://127.0.0.1:${at.server.port}/${hash}`

  async function open(t, hash, options) {
    const page = await openPage(t, url(hash), { viewport: { width: 1360, height: 900 }, ...options })
    await page.evaluate(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`)))
    return page
  }
  /** Opens as this user, live, and looking at all that is published for it. */
  async function watch(t, user, options) {
    const page = await open(t, `#user=${user}`, options)
    await isState(page, 'Live')
    await on(page).tab('All of this user').click()
    return page
  }
  /** Publishes events of this user's only run. */
  async function runEvents(user, events) {
    for (const event of events) await at.server.publish(`user:${user}`, { ...event, run_id: `run-of-${user}`, timestamp: Math.floor(Date.now() / 1000) })
  }
  const publish = (user, n) => at.server.publish(`user:${user}`, { type: 'count', n })

  test('a sample run, live: lanes, counter, terminal state, events', async (t) => {
    const page = await open(t, '#user=sample')
    await isState(page, 'Live')
    await page.getByText('No run to show').waitFor()
    const client = await connect(t, at.server, '?username=sample')
    await on(page).button('Publish a sample run').click()
    await on(page).lane('search_flights').getByText('running').waitFor()
    assert.match(await on(page).lane('parse_request').innerText(), /completed/)
    assert.equal(await figure(page, 'Tokens in flight'), '2')
    await on(page).lane('search_hotels').getByText('attempt 2').waitFor()
    await page.getByRole('status').getByText('completed', { exact: true }).waitFor({ timeout: 20_000 })
    assert.equal(await figure(page, 'Tokens in flight'), '0')
    assert.equal(await figure(page, 'Nodes done'), '5 of 5')
    assert.equal(await figure(page, 'Duration'), '9.9 s')
    assert.equal(client.json.length, await on(page).rows.count())
    const [first] = client.json
    assert.equal(first.type, 'workflow_started')
    assert.match(first.run_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    assert.equal(first.sample, true)
    assert.deepEqual(unexpected(page), [])
  })

  test('a run published by another program, and unfolded payloads', async (t) => {
    const page = await open(t, '#user=other')
    await isState(page, 'Live')
    await runEvents('other', RUN_EVENTS.slice(0, 4))
    await on(page).lane('second').getByText('running').waitFor()
    assert.equal(await figure(page, 'Tokens in flight'), '1')
    await runEvents('other', RUN_EVENTS.slice(4))
    await page.getByText('second: no luck').first().waitFor()
    await page.getByRole('status').getByText('failed', { exact: true }).waitFor()
    assert.match(await on(page).lane('second').innerText(), /failed[^]*no luck/)
    assert.equal(await figure(page, 'Duration'), '4.3 s')
    assert.equal(await on(page).rows.count(), RUN_EVENTS.length)
    await on(page).rows.nth(2).locator('summary').click()
    assert.match(await on(page).rows.nth(2).locator('pre').innerText(), /"result_ref": "sha256:00"/)

    await page.reload()
    await page.getByRole('status').getByText('failed', { exact: true }).waitFor()
    assert.equal(await on(page).rows.count(), RUN_EVENTS.length)
    assert.deepEqual(unexpected(page), [])
  })

  test('a run that began before the page', async (t) => {
    await runEvents('late', RUN_EVENTS.slice(0, 3))
    const page = await open(t, '#user=late')
    await on(page).lane('first').getByText('completed').waitFor()
    await page.getByRole('status').getByText('running', { exact: true }).waitFor()
    await runEvents('late', [{ type: 'workflow_cancelled', by: 'ann', counter: 0 }])
    await page.getByRole('status').getByText('cancelled', { exact: true }).waitFor()
  })

  test('breaking the WebSocket shows polling and loses nothing', async (t) => {
    const page = await watch(t, 'broken')
    for (const n of range(20)) await publish('broken', n)
    await allShown(page, 20)
    await on(page).switch(/Break the WebSocket/).click()
    for (const n of range(20, 20)) await publish('broken', n)
    await isState(page, 'Polling')
    for (const n of range(20, 40)) await publish('broken', n)
    await allShown(page, 60, { ms: 20_000 })
    assert.equal(await on(page).badge.innerText(), 'Polling')
    assert.ok(await number(page, 'Polls') > 0)
    assert.ok(await number(page, 'Healed by polls') >= 40)
    assert.equal((await at.server.get('/api/v1/connections?user=broken')).json().connections.filter(({ transport }) => transport === 'ws').length, 0)

    await on(page).switch(/Break the WebSocket/).click()
    for (const n of range(20, 60)) await publish('broken', n)
    await isState(page, 'Live', { ms: 20_000 })
    for (const n of range(20, 80)) await publish('broken', n)
    await allShown(page, 100)
    assert.deepEqual(await shown(page), range(100))
    assert.equal(await number(page, 'Received'), 100)
    assert.deepEqual(unexpected(page), [])
  })

  test('a run goes on while the WebSocket is broken', async (t) => {
    const page = await open(t, '#user=hybrid')
    await isState(page, 'Live')
    await runEvents('hybrid', RUN_EVENTS.slice(0, 2))
    await on(page).lane('first').getByText('running').waitFor()
    await on(page).switch(/Break the WebSocket/).click()
    await isState(page, 'Polling')
    await runEvents('hybrid', RUN_EVENTS.slice(2))
    await page.getByRole('status').getByText('failed', { exact: true }).waitFor({ timeout: 15_000 })
    assert.equal(await on(page).rows.count(), RUN_EVENTS.length)
  })

  test('30 % of the messages lost: all are shown, in order, once', async (t) => {
    const page = await watch(t, 'lossy')
    await on(page).switch(/Drop 30/).click()
    for (const n of range(150)) await publish('lossy', n)
    await allShown(page, 150, { ms: 25_000 })
    assert.deepEqual(await shown(page), range(150))
    assert.equal(await number(page, 'Received'), 150)
    assert.ok(await number(page, 'Dropped on purpose') > 10)
    assert.ok(await number(page, 'Healed by polls') > 10)
    assert.deepEqual(unexpected(page), [])
  })

  test('offline is said, and what was missed comes when it is back', async (t) => {
    const page = await watch(t, 'offline')
    await publish('offline', 0)
    await allShown(page, 1)
    await on(page).switch(/Go offline/).click()
    await isState(page, 'Offline')
    for (const n of range(30, 1)) await publish('offline', n)
    assert.deepEqual(await shown(page), [0])
    assert.equal(await on(page).badge.innerText(), 'Offline')
    await on(page).switch(/Go offline/).click()
    await isState(page, 'Live', { ms: 15_000 })
    await allShown(page, 31)
    assert.deepEqual(await shown(page), range(31))
    assert.deepEqual(unexpected(page), [])
  })

  test('a room, from two pages and a raw socket', async (t) => {
    const [ann, bob] = [await open(t, '#tab=room&room=two&as=ann'), await open(t, '#tab=room&room=two&as=bob')]
    const raw = await connect(t, at.server, '?room=two&client_id=raw')
    for (const page of [ann, bob]) await isState(page, 'Live')
    const say = async (page, text) => {
      await page.getByRole('textbox', { name: 'Message' }).fill(text)
      await page.keyboard.press('Enter')
    }
    await say(ann, 'hello from ann <b>')
    await bob.getByRole('log').getByText('hello from ann <b>').waitFor()
    await say(bob, 'hello from bob')
    await ann.getByRole('log').getByText('hello from bob').waitFor()
    await raw.send('hello from a terminal')
    for (const page of [ann, bob]) await page.getByRole('log').getByText('hello from a terminal').waitFor()
    await raw.waitFrames(3)
    assert.deepEqual(raw.texts.slice(0, 2).map((text) => JSON.parse(text).from), ['ann', 'bob'])
    assert.equal(await ann.getByRole('log').locator('.mine').count(), 1)
    assert.deepEqual([...unexpected(ann), ...unexpected(bob)], [])
  })

  test('names that cannot be are refused at the field', async (t) => {
    const page = await open(t, '#user=names')
    const name = page.getByRole('textbox', { name: 'Username' })
    for (const [bad, why] of [['', 'The username is empty.'], ['é'.repeat(130), 'The username has 260 bytes; at most 255 are allowed.']]) {
      await name.fill(bad)
      await on(page).button('Watch').click()
      await page.getByText(why).waitFor()
      assert.equal(await name.getAttribute('aria-invalid'), 'true')
    }
    await name.fill('somebody else')
    await name.press('Enter')
    await page.getByText('user:somebody else').first().waitFor()
    await isState(page, 'Live')
    await on(page).tab('Room').click()
    await page.getByRole('textbox', { name: 'Room' }).fill('x'.repeat(256))
    await on(page).button('Enter').click()
    await page.getByText('The room has 256 bytes').waitFor()
    assert.deepEqual(unexpected(page), [])
  })

  test('publishes what is typed, and says at which cursor', async (t) => {
    const page = await watch(t, 'typed')
    await page.getByRole('textbox', { name: 'Payload' }).fill('no JSON <i>at all</i>')
    await page.getByRole('textbox', { name: 'Payload' }).press('Control+Enter')
    await page.getByText(/^Published at [a-z0-9]+:\d+ in/).waitFor()
    await on(page).log.getByText('no JSON <i>at all</i>').waitFor()
  })

  test('keeps 1,000 rows and says so', async (t) => {
    const page = await watch(t, 'many')
    await on(page).button('1,000 at once').click()
    await until('all have come', async () => await number(page, 'Received') === 1000, { ms: 30_000 })
    for (const n of range(50)) await publish('many', n)
    await page.getByText('1,050, the last 1,000 shown').waitFor()
    assert.equal(await on(page).rows.count(), 1000)
    await on(page).log.evaluate((log) => { log.scrollTop = 0 })
    await on(page).button('Newest').click()
    await until('it is at the end', () => on(page).log.evaluate((log) => log.scrollTop + log.clientHeight >= log.scrollHeight - 40))
  })

  test('tabs, switches and rows with the keyboard', async (t) => {
    const page = await open(t, '#user=keys')
    await isState(page, 'Live')
    await on(page).tab('Runs').focus()
    await page.keyboard.press('ArrowRight')
    assert.equal(await on(page).tab('Room').getAttribute('aria-selected'), 'true')
    await page.getByRole('textbox', { name: 'Message' }).waitFor()
    await page.keyboard.press('Home')
    assert.equal(await on(page).tab('Runs').getAttribute('aria-selected'), 'true')
    assert.equal(await on(page).tab('Runs').evaluate((tab) => tab === document.activeElement), true)
    const panel = await on(page).tab('Runs').getAttribute('aria-controls')
    assert.equal(await page.locator(`#${panel}`).getAttribute('role'), 'tabpanel')
    await on(page).tab('This run').focus()
    await page.keyboard.press('End')
    await publish('keys', 7)
    await on(page).rows.first().locator('summary').focus()
    await page.keyboard.press('Enter')
    await on(page).rows.first().locator('pre').getByText('"count"').waitFor()
    await on(page).switch(/Go offline/).focus()
    await page.keyboard.press('Space')
    assert.equal(await on(page).switch(/Go offline/).getAttribute('aria-checked'), 'true')
    await isState(page, 'Offline')
    assert.deepEqual(unexpected(page), [])
  })

  test('dark when the system is, when chosen, and after a reload', async (t) => {
    const page = await open(t, '', { colorScheme: 'dark' })
    const dark = () => page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.body).backgroundColor)[0]) < 128)
    assert.equal(await dark(), true)
    await page.getByRole('button', { name: 'Theme: system. Switch to light' }).click()
    assert.equal(await dark(), false)
    await page.reload()
    assert.equal(await dark(), false)
    await page.getByRole('button', { name: 'Theme: light. Switch to dark' }).click()
    assert.equal(await dark(), true)
    await page.emulateMedia({ colorScheme: 'light' })
    assert.equal(await dark(), true)
    await page.getByRole('button', { name: 'Theme: dark. Switch to system' }).click()
    assert.equal(await dark(), false)
    assert.deepEqual(unexpected(page), [])
  })

  for (const [width, height] of [[360, 740], [390, 844], [800, 1000], [1180, 800], [1440, 900]]) {
    test(`${width} px wide: no sideways scroll, whatever the names`, async (t) => {
      const name = `${width}${'wide'.repeat(60)}`
      const page = await open(t, `#user=${name}`, { viewport: { width, height } })
      await isState(page, 'Live')
      await runEvents(name, [
        { type: 'workflow_started', tag: 'tag'.repeat(80), nodes: 1 },
        { type: 'node_failed', node_id: 'node'.repeat(60), error: 'e'.repeat(900) }
      ])
      await on(page).rows.nth(1).waitFor()
      await on(page).rows.nth(1).locator('summary').click()
      const overflow = () => page.evaluate(() => [document.documentElement.scrollWidth, innerWidth,
        ...[...document.querySelectorAll('.card')].map((card) => card.scrollWidth - card.clientWidth)])
      const check = async () => {
        const [content, window, ...cards] = await overflow()
        assert.ok(content <= window, `${content} px in ${window}`)
        assert.ok(cards.every((more) => more <= 1), `cards overflow by ${cards}`)
      }
      await check()
      await on(page).tab('Room').click()
      await page.getByRole('textbox', { name: 'Message' }).fill('m'.repeat(400))
      await page.keyboard.press('Enter')
      await on(page).log.getByText('mmmm').first().waitFor()
      await check()
      assert.deepEqual(unexpected(page), [])
    })
  }

  test('nothing moves while it loads, nor with what arrives', async (t) => {
    const page = await open(t, '#user=still')
    const moved = () => page.evaluate(() => new Promise((done) => {
      new PerformanceObserver((list) => done(list.getEntries().reduce((sum, entry) => sum + (entry.hadRecentInput ? 0 : entry.value), 0)))
        .observe({ type: 'layout-shift', buffered: true })
      setTimeout(() => done(0), 500)
    }))
    await isState(page, 'Live')
    await runEvents('still', RUN_EVENTS)
    await page.getByRole('status').getByText('failed', { exact: true }).waitFor()
    await until('the figures came', async () => await number(page, 'Delivered') > 0)
    const score = await moved()
    assert.ok(score < 0.02, `layout shifts of ${score}`)
  })
})

describe('the page and a gateway that goes away', () => {
  test('says so, and is live again with the next one', async (t) => {
    const port = await freePort()
    const first = await startServer(t, { role: 'demo', port })
    const page = await openPage(t, `http://127.0.0.1:${port}/#user=back`)
    await isState(page, 'Live')
    await first.stop()
    await page.getByRole('alert').getByText('The gateway does not answer.').waitFor()
    await isState(page, 'Offline')
    await on(page).button('Publish').click()
    await page.getByText('The gateway does not answer; nothing was published.').waitFor()
    const second = await startServer(t, { role: 'demo', port })
    await isState(page, 'Live', { ms: 25_000 })
    await page.getByRole('alert').waitFor({ state: 'hidden' })
    await on(page).tab('All of this user').click()
    await second.publish('user:back', { type: 'count', n: 1 })
    await allShown(page, 1)
    assert.deepEqual(unexpected(page), [])
  })
})
