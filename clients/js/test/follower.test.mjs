// "Each event once, in order", case by case, on a virtual clock. Proves:
// - a jump of the offsets is filled from history, page by page, before anything further is delivered
// - a repetition is dropped; a new generation is asked about; another epoch is a reset and goes on
// - a last message that was lost is found when the channel is quiet; questions become rarer while nothing is missed
// - gaps are filled; a history that no longer reaches is a reset, and what was received since is delivered
// - a reset's promise holds delivery back, also over a reconnect
// - lost answers to subscriptions are asked for again; types= turn off what their holes by design would trigger
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { connect } from '../dist/index.js'
import { Gateway } from './support/gateway.mjs'
import { settle, World } from './support/world.mjs'

const C = 'a:x'

async function scene(options = {}, clientOptions = {}) {
  const world = new World()
  const gateway = new Gateway(world)
  const client = connect('http://gateway', { environment: world.environment, ...clientOptions })
  const items = []
  const states = []
  const subscription = client.subscribe(C, {
    onState: (state) => states.push(state), ...options,
    onEvent: (event) => items.push(event.data),
    onReset: (reset) => { items.push(`reset ${reset.cursor}`); return options.onReset?.(reset) }
  })
  if (options.up !== false) await gateway.up()
  const publish = (...data) => { for (const one of data) gateway.publish(C, one) }
  const lose = (...data) => { gateway.lose = true; publish(...data); gateway.lose = false }
  return { world, gateway, client, subscription, items, states, publish, lose }
}
const histories = (world) => world.requestsTo('/history').map(({ at, query }) => [at, query.get('since')])

test('a hole is filled from history before anything further is delivered', async () => {
  const { world, subscription, items, publish, lose, states, client } = await scene()
  await subscription.ready
  publish(1)
  lose(2, 3)
  publish(4, 5)
  assert.deepEqual(items, [1], '4 and 5 wait')
  assert.equal(client.state, 'catching-up')
  await settle()
  assert.deepEqual(items, [1, 2, 3, 4, 5])
  assert.deepEqual(histories(world), [[0, 'e1:1']])
  assert.deepEqual(states, ['live', 'catching-up', 'live'])
})

test('history comes in pages, and new holes while it is read are filled as well', async () => {
  const { world, gateway, items, publish, lose } = await scene()
  gateway.pageMax = 2
  const answer = world.answer
  world.answer = (request) => {
    const reply = answer(request)
    if (histories(world).length === 2) { lose('late'); publish('later') } // While the second page is under way.
    return reply
  }
  publish(1)
  lose(2, 3, 4, 5)
  publish(6)
  await settle()
  assert.deepEqual(items, [1, 2, 3, 4, 5, 6, 'late', 'later'])
})

test('a repetition is dropped', async () => {
  const { gateway, items, publish } = await scene()
  publish(1, 2)
  gateway.send(C, { channel: C, cursor: 'e1:1', data: 1 })
  gateway.send(C, { channel: C, cursor: 'e1:2', data: 2 })
  publish(3)
  assert.deepEqual(items, [1, 2, 3])
})

test('the first offset of a new generation may follow or not: history tells', async () => {
  const { world, gateway, items, publish } = await scene()
  publish(1)
  gateway.publish(C, 2, { offset: 2 ** 40 + 1 })
  assert.deepEqual(items, [1])
  await settle()
  assert.deepEqual(items, [1, 2])
  publish(3)
  assert.deepEqual(items, [1, 2, 3])
  assert.equal(histories(world).length, 1)
})

test('another epoch within a connection is a reset, and its event is delivered', async () => {
  const { gateway, items, publish } = await scene()
  publish(1)
  gateway.newEpoch('e2')
  publish('a', 'b')
  assert.deepEqual(items, [1, 'reset e2:0', 'a', 'b'])
})

test('a lost last message is found 4 s later; while nothing is missed the questions become rarer', async () => {
  const { world, items, publish, lose } = await scene()
  publish(1)
  lose(2)
  await world.advance(3999)
  assert.deepEqual([items, histories(world)], [[1], []])
  await world.advance(1)
  assert.deepEqual([items, histories(world)], [[1, 2], [[4000, 'e1:1']]])
  await world.advance(100_000)
  assert.deepEqual(histories(world).slice(1).map(([at]) => at), [8000, 14_000, 23_000, 36_500, 56_750, 86_750])
  publish(3)
  lose(4)
  await world.advance(4000)
  assert.deepEqual(items, [1, 2, 3, 4], 'back to 4 s')
})

test('idleMs: 0 asks nothing', async () => {
  const { world, publish } = await scene({}, { idleMs: 0 })
  publish(1)
  await world.advance(100_000)
  assert.deepEqual(histories(world), [])
})

test('a gap notice is filled; one of what is behind is not', async () => {
  const { world, gateway, items, publish, lose } = await scene()
  publish(1)
  gateway.send(C, { gap: { channel: C, from: 1, to: 1, reason: 'slow' } })
  await settle()
  assert.deepEqual(histories(world), [])
  gateway.pageMax = 2
  lose(2, 3, 4, 5, 6)
  gateway.send(C, { gap: { channel: C, from: 2, to: 6, reason: 'slow' } })
  await settle()
  assert.deepEqual(items, [1, 2, 3, 4, 5, 6])
})

test('a history that no longer reaches is a reset; what was received since is delivered', async () => {
  const { gateway, items, publish, lose } = await scene()
  publish(1)
  lose(2, 3, 4)
  gateway.first = 4
  publish(5)
  await settle()
  assert.deepEqual(items, [1, 'reset e1:4', 5])
})

test('history that fails is asked again, with backoff, and events wait; one that is refused is a reset', async () => {
  const { world, gateway, items, publish, lose, subscription } = await scene({}, { idleMs: 0 })
  const socket = world.socket
  const say = socket.onsend
  socket.onsend = (command) => { if (!command.history) say(command) } // The socket does not answer it either.
  world.answer = () => { throw new TypeError('fetch failed') }
  publish(1)
  lose(2)
  publish(3)
  await world.advance(20_000)
  assert.deepEqual(items, [1])
  assert.equal(subscription.state, 'catching-up')
  assert.ok(histories(world).length >= 3)
  world.answer = (request) => gateway.http(request)
  await world.advance(20_000)
  assert.deepEqual(items, [1, 2, 3])

  const denied = await scene({}, { idleMs: 0 })
  denied.world.answer = () => ({ status: 403, body: { error: { code: 'forbidden', message: 'not yours' } } })
  denied.world.socket.onsend = (command) => denied.world.socket.say({ id: command.id, error: { code: 'forbidden', message: 'not yours' } })
  denied.publish(1)
  denied.lose(2)
  denied.publish(3)
  await denied.world.advance(60_000)
  assert.deepEqual(denied.items, [1, 'reset e1:2', 3])
})

test('a reconnect continues at the cursor; a reset from the gateway goes on behind its cursor', async () => {
  const { world, gateway, items, publish, lose, client } = await scene()
  publish(1)
  world.socket.drop()
  assert.equal(client.state, 'offline')
  lose(2, 3)
  await world.advance(500)
  await gateway.up()
  assert.deepEqual(items, [1, 2, 3])
  world.socket.drop()
  gateway.newEpoch('e2')
  lose('unseen')
  await world.advance(1000)
  await gateway.up()
  publish('seen')
  assert.deepEqual(items, [1, 2, 3, 'reset e2:1', 'seen'])
})

test('the promise of onReset holds delivery back, also over a reconnect', async () => {
  let done
  const { world, gateway, items, publish, client } = await scene({ onReset: () => new Promise((resolve) => { done = resolve }) })
  publish(1)
  gateway.newEpoch('e2')
  publish('a', 'b')
  await settle()
  assert.deepEqual(items, [1, 'reset e2:0'])
  world.socket.drop()
  await world.advance(500)
  world.socket.open().say({ channel: C, cursor: 'e2:1', data: 'a' }) // Before the answer to the subscription.
  assert.deepEqual(items, [1, 'reset e2:0'])
  world.socket.drop()
  await world.advance(1000)
  await gateway.up()
  publish('c')
  await world.advance(1000)
  assert.deepEqual(items, [1, 'reset e2:0'])
  assert.equal(client.state, 'catching-up')
  done()
  await settle()
  assert.deepEqual(items, [1, 'reset e2:0', 'a', 'b', 'c'])
  assert.equal(client.state, 'live')
})

test('answers to a subscription that are lost are asked for again', async () => {
  const { world, gateway, items, publish, subscription } = await scene({ since: 'begin', up: false })
  publish(1, 2)
  await world.advance(0)
  gateway.lose = true
  gateway.open()
  await world.advance(4000)
  assert.equal(subscription.state, 'catching-up')
  gateway.lose = false
  await world.advance(1000)
  await subscription.ready
  assert.deepEqual(items, [1, 2])
  assert.deepEqual(gateway.commands.map((command) => Object.keys(command)[1]), ['subscribe', 'unsubscribe', 'subscribe'])
})

test('the acknowledgement and the notice are told once, whichever is lost', async () => {
  for (const lost of ['ok', 'state', 'neither']) {
    const { world, gateway, items, publish, subscription } = await scene({ since: 'e0:7', up: false })
    publish(1)
    await world.advance(0)
    const { socket } = world
    const { say } = socket
    socket.say = (value) => { if (!(lost in value)) say.call(socket, value) }
    gateway.open()
    await subscription.ready
    assert.deepEqual(items, ['reset e1:1'], `without ${lost}`)
    socket.say = say
    publish(2)
    assert.deepEqual(items, ['reset e1:1', 2])
  }
})

test('with types= holes are by design: nothing is asked; the quiet look filters what it finds', async () => {
  const { world, gateway, items, publish, lose } = await scene({ types: ['a', 'b_*'] })
  assert.deepEqual(gateway.commands[0].subscribe.types, ['a', 'b_*'])
  publish({ type: 'a' })
  lose({ type: 'other' }, { type: 'b' })
  publish({ type: 'b_1' })
  await settle()
  assert.deepEqual(histories(world), [])
  lose({ type: 'c' }, { type: 'b_2' }, { type: 'c' })
  await world.advance(4000)
  assert.deepEqual(items, [{ type: 'a' }, { type: 'b_1' }, { type: 'b_2' }])
  await world.advance(4000)
  assert.deepEqual(histories(world).map(([, since]) => since), ['e1:4', 'e1:7'], 'past what was not wanted')
})

test('repair: false delivers what comes', async () => {
  const { world, items, publish, lose } = await scene({ repair: false })
  publish(1)
  lose(2)
  publish(3)
  await settle()
  assert.deepEqual([items, histories(world)], [[1, 3], []])
})

test('a callback that throws surfaces and stops nothing; unsubscribing inside one stops at once', async () => {
  // In a process of its own: what is uncaught here would be the test runner's.
  const script = `
    import { connect } from '${new URL('../dist/index.js', import.meta.url)}'
    import { Gateway } from '${new URL('support/gateway.mjs', import.meta.url)}'
    import { settle, World } from '${new URL('support/world.mjs', import.meta.url)}'
    const surfaced = []
    process.on('uncaughtException', (error) => surfaced.push(error.message))
    const world = new World()
    const gateway = new Gateway(world)
    const got = []
    const subscription = connect('http://gateway', { environment: world.environment }).subscribe('a:x', {
      since: 'begin',
      onEvent: ({ data }) => {
        got.push(data)
        if (data === 1) throw new Error('application')
        if (data === 3) subscription.unsubscribe()
      }
    })
    gateway.publish('a:x', 1)
    await gateway.up()
    for (const n of [2, 3, 4]) gateway.publish('a:x', n)
    await settle()
    console.log(JSON.stringify([got, surfaced]))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  assert.deepEqual(JSON.parse(stdout), [[1, 2, 3], ['application']])
})

test('a for await loop that is too slow gets an error, not an endless queue', async () => {
  const world = new World()
  const gateway = new Gateway(world)
  const client = connect('http://gateway', { environment: world.environment, queueMax: 3 })
  const subscription = client.subscribe(C)
  await gateway.up()
  for (let n = 0; n < 5; n++) gateway.publish(C, n)
  const got = []
  await assert.rejects(async () => { for await (const item of subscription) got.push(item.data) }, { code: 'slow_consumer' })
  assert.deepEqual(got, [0, 1, 2])
})

test('a run over the user\'s channel: a loss that shows in the offsets is repaired without a poll', async () => {
  const world = new World()
  const gateway = new Gateway(world)
  const client = connect('http://gateway', { environment: world.environment })
  const run = client.followRun('r', { username: 'u' })
  await gateway.up()
  const event = (n) => ({ type: 'node_completed', run_id: 'r', node_id: `${n}` })
  gateway.publish('user:u', event(1))
  gateway.lose = true
  gateway.publish('user:u', event(2))
  gateway.lose = false
  gateway.publish('user:u', { type: 'workflow_completed', run_id: 'r' })
  await settle()
  assert.deepEqual(run.events.map(({ node_id }) => node_id), ['1', '2', undefined])
  assert.deepEqual([run.isTerminal, run.polls], [true, 0])
})

test('an event without a cursor is delivered and moves nobody', async () => {
  const { gateway, subscription, items, publish } = await scene()
  await subscription.ready
  publish(1)
  gateway.send(C, { channel: C, data: 'plain' })
  publish(2)
  assert.deepEqual(items, [1, 'plain', 2])
  assert.equal(subscription.cursor, 'e1:2')
})
