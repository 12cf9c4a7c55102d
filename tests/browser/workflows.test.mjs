// Workflows on the page at `/` of `fanout demo`, in Chromium, against the coordinator in that process. Proves:
// - a sample is started with its example inputs; its nodes go through their states live, and a result is opened
// - a node that asks a human is approved and rejected with the buttons, with a comment; Enter decides nothing
// - a run is cancelled, by two presses
// - what a branch skips, how often a loop went and what was tried again is shown; the graph's nodes lie apart
// - what is wrong is said as a sentence: inputs that are no JSON, what the coordinator refuses, a gateway that is gone
// - runs are listed and opened after a reload, and after a restart; names beyond Latin-1 work; markup stays text
// - with the keyboard; light and dark, 360 to 1440 px wide without a sideways scroll; nothing in the console
// - without a coordinator there is no word of workflows
// - the plain page starts one, too
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { connect, freePort, shared, startServer, tempDir, test, until } from '../support/harness.mjs'

const on = (page) => ({
  workflow: (tag) => page.getByRole('list', { name: 'Workflows' }).getByRole('button', { name: new RegExp(`^${tag}\\b`) }),
  inputs: page.getByRole('textbox', { name: 'Inputs' }),
  button: (name) => page.getByRole('button', { name, exact: true }),
  node: (id) => page.locator(`[data-node="${id}"]`),
  runs: page.locator('section', { has: page.getByRole('heading', { name: 'Runs', exact: true }) }).getByRole('listitem'),
  result: page.getByRole('region', { name: 'Result' }),
  lane: (name) => page.getByRole('list', { name: 'Nodes', exact: true }).getByRole('listitem').filter({ hasText: name })
})

const isRun = (page, status) => page.getByRole('status').getByText(status, { exact: true }).waitFor({ timeout: 20_000 })
const isNode = (page, id, status) => until(`the node ${id} is ${status}`, async () => {
  const now = await on(page).node(id).getAttribute('data-status')
  if (now === status) return true
  throw new Error(`it is ${now}`)
})

/** A refused or failed request is an error in Chromium's console whatever the page does about it. */
const unexpected = (page) => page.problems.filter((problem) => !/ERR_CONNECTION_|ERR_ABORTED|ERR_FAILED|Failed to load resource|Error in connection|WebSocket connection/.test(problem))

const WORKFLOWS = {
  'ask': {
    description: 'A human decides.',
    example_inputs: { amount: 1200, to: '<b>Ann</b>' },
    nodes: [
      { id: 'prepare', type: 'transform', config: { output: { amount: '{{/inputs/amount}}' } } },
      { id: 'review', type: 'hitl', config: { message: 'Pay {{/inputs/amount}} to {{/inputs/to}}?' } },
      { id: 'pay', type: 'transform' }
    ],
    edges: [{ from: 'prepare', to: 'review' }, { from: 'review', to: 'pay' }]
  },
  'long': {
    nodes: [{ id: 'first', type: 'transform' }, { id: 'sleep', type: 'delay', config: { ms: 600_000 } }],
    edges: [{ from: 'first', to: 'sleep' }]
  },
  'shapes': {
    nodes: [
      { id: 'begin', type: 'transform', config: { output: { price: 20 } } },
      { id: 'left', type: 'transform' },
      { id: 'right', type: 'fail', config: { times: 1, message: 'not yet' }, retry: { max_attempts: 3, backoff_ms: 50 } },
      { id: 'join', type: 'aggregate' },
      { id: 'look', type: 'transform' },
      { id: 'dear', type: 'transform' },
      { id: 'cheap', type: 'transform' },
      { id: 'end', type: 'transform' }
    ],
    edges: [
      { from: 'begin', to: 'left' }, { from: 'begin', to: 'right' }, { from: 'left', to: 'join' }, { from: 'right', to: 'join' },
      { from: 'join', to: 'look' }, { from: 'look', to: 'join', max_iterations: 2 },
      { from: 'look', to: 'dear', when: '/right/price > 100' }, { from: 'look', to: 'cheap', when: 'else' },
      { from: 'dear', to: 'end' }, { from: 'cheap', to: 'end' }
    ]
  }
}

async function put(server, workflows) {
  for (const [tag, definition] of Object.entries(workflows)) {
    const reply = await server.request('PUT', `/api/v1/workflows/${tag}`, { body: definition })
    assert.ok([200, 201].includes(reply.status), reply.text)
  }
}

describe('workflows on the page', () => {
  const at = shared(async (t) => {
    const server = await startServer(t, { role: 'demo' })
    await put(server, WORKFLOWS)
    return { server }
  })

  async function open(t, user, options) {
    const page = await openPage(t, `http://127.0.0.1:${at.server.port}/#user=${encodeURIComponent(user)}`, { viewport: { width: 1360, height: 900 }, ...options })
    await page.evaluate(() => addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`)))
    await page.locator('header').getByRole('status').getByText('Live').waitFor()
    return page
  }
  async function start(page, tag) {
    await on(page).workflow(tag).click()
    await until('its inputs are there', async () => (await on(page).inputs.inputValue()) !== '')
    await on(page).button('Start').click()
  }

  test('the sample, with its example inputs, live to its result', async (t) => {
    const page = await open(t, 'test-user')
    const client = await connect(t, at.server, '?username=test-user')
    await on(page).workflow('flight-search').click()
    await until('its inputs are there', async () => /"city": "NYC"/.test(await on(page).inputs.inputValue()))
    await on(page).button('Start').click()
    await isRun(page, 'completed')
    await isNode(page, 'search', 'completed')
    await isNode(page, 'format', 'completed')
    await on(page).lane('search').getByText('completed').waitFor()
    await client.waitFrames(6)
    assert.deepEqual(client.json.map(({ type }) => type),
      ['workflow_started', 'node_started', 'node_completed', 'node_started', 'node_completed', 'workflow_completed'])
    await on(page).node('search').click()
    await on(page).result.getByText('NYC').first().waitFor()
    const { result_ref } = client.json.find(({ type, node_id }) => type === 'node_completed' && node_id === 'search')
    await on(page).result.getByText(result_ref).waitFor()
    await on(page).button('Close').click()
    assert.equal(await on(page).result.count(), 0)
    assert.deepEqual(page.problems, [])
  })

  test('the sample that asks, approved with the button', async (t) => {
    const page = await open(t, 'traveller')
    await start(page, 'trip-booking')
    await page.getByText(/^The trip to Lisbon costs 1150\. Book it\?$/).first().waitFor()
    await isNode(page, 'flight', 'completed')
    await isNode(page, 'approve', 'waiting')
    await isNode(page, 'decline', 'idle')
    await on(page).button('Approve').click()
    await isRun(page, 'completed')
    await isNode(page, 'confirm', 'completed')
    assert.equal(await on(page).node('decline').getAttribute('data-status'), 'skipped')
    await on(page).node('confirm').click()
    await on(page).result.getByText('FO 101 to Lisbon and Grand Lisbon are confirmed.').waitFor()
    assert.deepEqual(page.problems, [])
  })

  test('a human approves, with a comment', async (t) => {
    const page = await open(t, 'approver')
    await start(page, 'ask')
    await page.getByText('Pay 1200 to <b>Ann</b>?').first().waitFor()
    await isNode(page, 'review', 'waiting')
    await page.getByRole('textbox', { name: 'Comment' }).fill('fine <i>by me</i>')
    await page.keyboard.press('Enter')
    assert.equal(await on(page).node('review').getAttribute('data-status'), 'waiting')
    await on(page).button('Approve').click()
    await isRun(page, 'completed')
    await isNode(page, 'review', 'completed')
    assert.equal(await on(page).button('Approve').count(), 0)
    await on(page).node('review').click()
    await on(page).result.getByText('fine <i>by me</i>').waitFor()
    assert.match(await on(page).result.innerText(), /"approved": true/)
    assert.deepEqual(page.problems, [])
  })

  test('a human rejects, and the run fails of it', async (t) => {
    const page = await open(t, 'rejecter')
    await start(page, 'ask')
    await on(page).button('Reject').click()
    await isRun(page, 'failed')
    await isNode(page, 'review', 'failed')
    assert.equal(await on(page).node('pay').getAttribute('data-status'), 'idle')
    await on(page).node('review').click()
    assert.match(await page.getByRole('region', { name: 'review', exact: true }).innerText(), /reject/i)
    assert.deepEqual(page.problems, [])
  })

  test('a decision that comes too late is answered with a sentence', async (t) => {
    const page = await open(t, 'late')
    await start(page, 'ask')
    await on(page).button('Approve').waitFor()
    const [{ run_id }] = (await at.server.get('/api/v1/runs?user=late')).json().runs
    await page.getByRole('switch', { name: /Go offline/ }).click() // It does not hear that somebody else decides.
    await page.route('**/api/v1/runs/*', (route) => route.abort())
    const reply = await at.server.post('/api/approval', { run_id, node_id: 'review', approved: true }, { headers: { 'x-user-id': 'boss' } })
    assert.equal(reply.status, 200, reply.text)
    await on(page).button('Reject').click()
    await page.getByRole('alert').getByText(/decided|nobody is asked|over/).waitFor()
    assert.deepEqual(unexpected(page), [])
  })

  test('a run is cancelled, by two presses', async (t) => {
    const page = await open(t, 'canceller')
    await start(page, 'long')
    await isNode(page, 'sleep', 'waiting')
    await on(page).button('Cancel').click()
    assert.equal((await at.server.get('/api/v1/runs?user=canceller')).json().runs[0].status, 'running')
    await on(page).button('Really cancel?').click()
    await isRun(page, 'cancelled')
    const [run] = (await at.server.get('/api/v1/runs?user=canceller')).json().runs
    assert.equal(run.status, 'cancelled')
    assert.equal((await at.server.get(`/api/v1/runs/${run.run_id}`)).json().cancelled_by, 'canceller')
    assert.equal(await on(page).button('Cancel').count(), 0)
    assert.deepEqual(page.problems, [])
  })

  test('branches, loops and attempts are shown, and the nodes lie apart', async (t) => {
    const page = await open(t, 'shapes')
    await start(page, 'shapes')
    await isRun(page, 'completed')
    await isNode(page, 'end', 'completed')
    assert.equal(await on(page).node('dear').getAttribute('data-status'), 'skipped')
    await page.getByText('Nodes done, 1 skipped').waitFor()
    assert.match(await on(page).node('join').innerText(), /visit 3/)
    assert.match(await on(page).node('right').innerText(), /try 2 of 3/)
    assert.equal(await page.locator('.edge[data-loop][data-state="taken"]').count(), 1)
    await page.locator('.edge > text', { hasText: 'at most 2 ×' }).waitFor()
    await page.locator('.edge > text', { hasText: 'else' }).waitFor()
    assert.equal(await page.locator('.edge[data-state="skipped"]').count(), 2)
    for (const width of [1360, 600, 360]) {
      await page.setViewportSize({ width, height: 900 })
      const boxes = await page.locator('.graph-node').evaluateAll((all) => all.map((one) => {
        const { left, right, top, bottom } = one.getBoundingClientRect()
        return { id: one.dataset.node, left, right, top, bottom }
      }))
      assert.equal(boxes.length, 8)
      for (const a of boxes) {
        for (const b of boxes) {
          if (a === b) continue
          assert.ok(a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top, `${a.id} over ${b.id} at ${width} px`)
        }
      }
    }
    assert.deepEqual(page.problems, [])
  })

  test('what is wrong is said as a sentence', async (t) => {
    const page = await open(t, 'wrong')
    await on(page).workflow('ask').click()
    await on(page).inputs.fill('{"amount": ')
    await on(page).button('Start').click()
    await page.getByText(/^The inputs are not JSON: /).waitFor()
    await on(page).inputs.fill('[1]')
    await on(page).button('Start').click()
    await page.getByText('Inputs: an object is expected.').waitFor()
    await page.route('**/api/v1/runs', (route) => route.abort())
    await on(page).inputs.fill('{}')
    await on(page).button('Start').click()
    await page.getByText(/^The gateway does not answer; it is not known/).waitFor()
    assert.equal((await at.server.get('/api/v1/runs?user=wrong')).json().runs.length, 0)
    assert.deepEqual(unexpected(page), [])
  })

  test('a name beyond Latin-1', async (t) => {
    const page = await open(t, 'Zoë 用户')
    await start(page, 'flight-search')
    await isRun(page, 'completed')
    const { runs } = (await at.server.get(`/api/v1/runs?user=${encodeURIComponent('Zoë 用户')}`)).json()
    assert.equal(runs.length, 1)
    assert.equal(runs[0].user, 'Zoë 用户')
    assert.deepEqual(page.problems, [])
  })

  test('runs are opened again after a reload', async (t) => {
    const page = await open(t, 'again')
    await start(page, 'flight-search')
    await isRun(page, 'completed')
    await start(page, 'long')
    await isNode(page, 'sleep', 'waiting')
    await page.reload()
    await until('both are listed', async () => await on(page).runs.count() === 2)
    await isNode(page, 'sleep', 'waiting')
    await on(page).runs.nth(1).getByRole('button').click()
    await isRun(page, 'completed')
    await isNode(page, 'format', 'completed')
    assert.deepEqual(unexpected(page), [])
  })

  test('a node and its result with the keyboard', async (t) => {
    const page = await open(t, 'keys')
    await on(page).workflow('flight-search').focus()
    await page.keyboard.press('Enter')
    await until('its inputs are there', async () => /NYC/.test(await on(page).inputs.inputValue()))
    await on(page).inputs.focus()
    await page.keyboard.press('Control+Enter')
    await isRun(page, 'completed')
    await on(page).node('search').focus()
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate(() => document.activeElement.dataset.node), 'format')
    await page.keyboard.press('Enter')
    await on(page).result.locator('pre').waitFor()
    assert.equal(await on(page).node('format').getAttribute('aria-pressed'), 'true')
    assert.deepEqual(page.problems, [])
  })

  for (const [width, height, colorScheme] of [[360, 740, 'dark'], [800, 1000, 'light'], [1440, 900, 'dark']]) {
    test(`${width} px wide, ${colorScheme}: no sideways scroll, whatever the names`, async (t) => {
      const tag = `w${width}${'wide'.repeat(30)}`
      const long = (n) => `${n}${'node'.repeat(15)}`
      await put(at.server, { [tag]: {
        description: 'd'.repeat(500),
        example_inputs: { text: 'x'.repeat(300) },
        nodes: [{ id: long('a'), type: 'transform' }, ...Array.from({ length: 6 }, (_, i) => ({ id: long(`b${i}`), type: 'transform' })), { id: 'ask', type: 'hitl', config: { message: '{{/inputs/text}}' } }],
        edges: Array.from({ length: 6 }, (_, i) => [{ from: long('a'), to: long(`b${i}`), when: { pointer: '', op: 'exists' } }, { from: long(`b${i}`), to: 'ask' }]).flat()
      } })
      const page = await open(t, `${width}${'wide'.repeat(60)}`, { viewport: { width, height }, colorScheme })
      await start(page, tag)
      await isNode(page, 'ask', 'waiting')
      await on(page).node(long('a')).click()
      await on(page).result.locator('pre').waitFor()
      const [content, window, ...cards] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth,
        ...[...document.querySelectorAll('.card')].map((card) => card.scrollWidth - card.clientWidth)])
      assert.ok(content <= window, `${content} px in ${window}`)
      assert.ok(cards.every((more) => more <= 1), `cards overflow by ${cards}`)
      await on(page).button('Approve').click()
      await isRun(page, 'completed')
      const dark = await page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.querySelector('.graph')).backgroundColor)[0]) < 128)
      assert.equal(dark, colorScheme === 'dark')
      assert.deepEqual(page.problems, [])
    })
  }

  test('without a coordinator there is no word of workflows', async (t) => {
    const page = await open(t, 'nobody')
    await page.getByRole('heading', { name: 'Workflows' }).waitFor()
    await page.route('**/api/v1/workflows', (route) => route.fulfill({ status: 404, json: { error: { code: 'not_found', message: 'nothing here' } } }))
    await page.reload()
    await page.getByRole('heading', { name: 'Workflows' }).waitFor({ state: 'hidden' })
    await on(page).button('Publish a sample run').waitFor()
    assert.deepEqual(unexpected(page), [])
  })

  test('the plain page starts one', async (t) => {
    const page = await openPage(t, `http://127.0.0.1:${at.server.port}/plain`)
    await page.getByRole('textbox', { name: 'Username' }).fill('plain')
    await page.getByRole('combobox', { name: 'Workflow' }).selectOption('flight-search')
    await until('its inputs are there', async () => /NYC/.test(await page.getByRole('textbox', { name: 'Inputs' }).inputValue()))
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await page.getByText(/^Run \S+ was started for user plain\.$/).waitFor()
    await page.getByRole('log').getByText('workflow_completed').first().waitFor()
    assert.deepEqual(page.problems, [])
  })
})

describe('workflows and a restart', () => {
  test('runs of before are listed and opened', async (t) => {
    const port = await freePort()
    const options = { role: 'demo', port, env: { FANOUT_DATA: tempDir(t, 'runs') } }
    const first = await startServer(t, options)
    const url = `http://127.0.0.1:${port}/#user=before`
    const page = await openPage(t, url)
    await on(page).workflow('flight-search').click()
    await until('its inputs are there', async () => /NYC/.test(await on(page).inputs.inputValue()))
    await on(page).button('Start').click()
    await isRun(page, 'completed')
    await page.goto('about:blank')
    await first.stop()
    await startServer(t, options)
    await page.goto(url)
    await until('it is listed', async () => await on(page).runs.count() === 1)
    await isNode(page, 'search', 'completed')
    await on(page).node('format').click()
    await on(page).result.locator('pre').waitFor()
    assert.deepEqual(unexpected(page), [])
  })
})
