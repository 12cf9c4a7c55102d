// The hybrid algorithm on a virtual clock, with the number and the time of every poll. Proves, for runs over the
// original contract's raw socket and GET /api/v1/runs/{id}/events:
// - all well: 0 polls; one message dropped: 1 poll; socket dead for good: one every 4 s until terminal
// - every socket message pushes the next poll 4 s away; a poll's list replaces the list
// - a terminal event ends polling and leaves the socket open; a dead socket is reopened with jitter, polls go on
// - a failed poll and a hanging one are followed by the next; backoff ×1.5 to 30 s only when asked for
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../dist/index.js'
import { settle, World } from './support/world.mjs'

const RUN = 'run-1'
const started = { type: 'workflow_started', run_id: RUN, tag: 't', nodes: 5, timestamp: 1 }
const node = (n) => ({ type: 'node_completed', run_id: RUN, node_id: `n${n}`, status: 'completed', counter: 5 - n, timestamp: 1 + n })
const completed = { type: 'workflow_completed', run_id: RUN, counter: 0, duration_ms: 9, timestamp: 9 }
const ALL = [started, node(1), node(2), node(3), node(4), node(5), completed]

/** A page that follows RUN, and a coordinator that knows what was published so far. */
function scene(options = {}, worldOptions) {
  const world = new World(worldOptions)
  const published = []
  world.answer = ({ path }) => {
    if (!path.endsWith(`/runs/${RUN}/events`)) return { status: 404, body: {} }
    const done = published.some((event) => event.type === 'workflow_completed')
    return { body: { run_id: RUN, events: [...published], status: done ? 'completed' : 'running' } }
  }
  const client = connect('http://gateway', { rawUserSockets: true, environment: world.environment })
  const states = []
  const run = client.followRun(RUN, { username: 'alice', ...options, onChange: () => states.push(run.state) })
  /** Publishes; the socket carries it unless told otherwise. */
  const publish = async (event, { carried = true } = {}) => {
    if (event.run_id === RUN) published.push(event)
    if (carried) world.socket.say(event)
    await settle()
  }
  const polledAt = () => world.requestsTo('/events').map(({ at }) => at)
  return { world, client, run, published, publish, polledAt, states }
}

test('all well: no poll at all, and the socket stays open behind the end', async () => {
  const { world, run, publish, polledAt, states } = scene()
  assert.equal(world.socket.url, 'ws://gateway/ws?username=alice')
  assert.deepEqual(world.socket.protocols, [], 'a gateway of the original contract knows no subprotocol')
  assert.equal(run.state, 'catching-up')
  world.socket.open()
  for (const event of ALL) {
    await world.advance(3000)
    await publish(event)
  }
  assert.equal(await run.finished, 'completed')
  await world.advance(120_000)
  assert.deepEqual(polledAt(), [])
  assert.deepEqual(run.events, ALL)
  assert.deepEqual([run.isTerminal, run.status, run.state], [true, 'completed', 'live'])
  assert.deepEqual([world.sockets.length, world.openSockets.length], [1, 1])
  assert.deepEqual(new Set(states), new Set(['live']))
})

test('one message dropped: one poll, 4 s after the last message, and its list replaces the list', async () => {
  const { world, run, publish, polledAt } = scene()
  world.socket.open()
  for (const event of ALL.slice(0, 3)) await publish(event)
  await world.advance(1000)
  await publish(node(3), { carried: false })
  assert.deepEqual(run.events, ALL.slice(0, 3))
  await world.advance(2999)
  assert.deepEqual(polledAt(), [])
  await world.advance(1)
  assert.deepEqual(polledAt(), [4000])
  assert.deepEqual(run.events, ALL.slice(0, 4))
  for (const event of ALL.slice(4)) {
    await world.advance(1000)
    await publish(event)
  }
  await world.advance(120_000)
  assert.deepEqual(polledAt(), [4000])
  assert.deepEqual(run.events, ALL)
})

test('socket dead for good: one poll every 4 s until the run is terminal', async () => {
  const { world, run, publish, polledAt } = scene()
  world.socket.drop()
  const published = ALL.map((event, i) => [event, 3000 * (i + 1)]) // The last one at 21 s.
  for (const [event, at] of published) {
    while (world.time < at) { await world.advance(500); for (const socket of world.sockets) socket.drop() }
    await publish(event, { carried: false })
  }
  while (world.time < 200_000) { await world.advance(500); for (const socket of world.sockets) socket.drop() }
  assert.deepEqual(polledAt(), [4000, 8000, 12_000, 16_000, 20_000, 24_000])
  assert.deepEqual([run.events, run.isTerminal], [ALL, true])
  assert.ok(world.sockets.length > 10, `tried again ${world.sockets.length} times`)
})

test('every message pushes the next poll 4 s away', async () => {
  const { world, publish, polledAt } = scene()
  world.socket.open()
  for (let i = 0; i < 10; i++) {
    await world.advance(3999)
    await publish({ ...node(1), counter: i })
  }
  assert.deepEqual(polledAt(), [])
  await world.advance(3999)
  assert.deepEqual(polledAt(), [])
  await world.advance(1)
  assert.deepEqual(polledAt(), [43_990])
  await world.advance(8000) // Silent: the rhythm.
  assert.deepEqual(polledAt(), [43_990, 47_990, 51_990])
})

test('messages of other runs push it too, but not for ever', async () => {
  const { world, publish, polledAt, run } = scene()
  world.socket.open()
  await publish(started)
  await publish(node(1), { carried: false })
  for (let i = 0; i < 40; i++) {
    await world.advance(1000)
    await publish({ type: 'node_completed', run_id: 'other', node_id: `${i}` })
  }
  assert.deepEqual(polledAt(), [30_000])
  assert.deepEqual(run.events, [started, node(1)])
})

test('a terminal event that a poll brings ends polling; the socket is still there and is kept', async () => {
  const { world, run, publish, polledAt } = scene()
  world.socket.open()
  for (const event of ALL) await publish(event, { carried: false })
  await world.advance(4000)
  assert.deepEqual([polledAt(), run.isTerminal, run.events], [[4000], true, ALL])
  await world.advance(60_000)
  assert.deepEqual(polledAt(), [4000])
  assert.equal(world.openSockets.length, 1)
})

test('a dead socket leaves polling running and is reopened, spread by jitter', async () => {
  const delays = []
  for (let seed = 1; seed <= 40; seed++) {
    const { world, polledAt, run } = scene({}, { seed })
    world.socket.open()
    await world.advance(2000)
    world.socket.drop(1012, 'retry_ms=700')
    assert.equal(run.state, 'catching-up', 'no poll has told anything yet')
    await world.advance(1999)
    assert.equal(world.sockets.length, 2)
    delays.push(world.sockets[1].at - 2000)
    await world.advance(3000)
    assert.deepEqual(polledAt(), [4000], 'the loss of the socket does not move the poll')
    assert.equal(run.state, 'polling')
    world.socket.open()
    assert.equal(run.state, 'live')
    run.close()
  }
  assert.ok(delays.every((ms) => ms >= 700 && ms <= 1200), `after the hint, within the jitter: ${delays}`)
  assert.ok(Math.max(...delays) - Math.min(...delays) > 350, 'spread')
  assert.ok(new Set(delays).size > 35)
})

test('a failed poll is followed by the next one; the state says offline, then polling', async () => {
  const { world, run, publish, polledAt, states } = scene()
  world.socket.drop()
  const good = world.answer
  world.answer = (request) => request.at < 12_000 ? { status: 503, body: { error: { code: 'x', message: 'later' } } } : good(request)
  await publish(started, { carried: false })
  for (let i = 0; i < 26; i++) { await world.advance(500); world.socket.drop() }
  assert.deepEqual(polledAt(), [4000, 8000, 12_000])
  assert.deepEqual(run.events, [started])
  assert.deepEqual(states, ['offline', 'polling'])
})

test('a hanging poll does not pile up: it is given up, and the next one is due in the rhythm', async () => {
  const { world, polledAt } = scene()
  world.socket.drop()
  world.answer = () => 'hang'
  await world.advance(30_000)
  assert.deepEqual(polledAt(), [4000, 16_000, 28_000])
})

test('backoff is off by default; asked for, ×1.5 to 30 s and back to 4 s on activity', async () => {
  const off = scene()
  off.world.socket.open()
  await off.world.advance(60_000)
  assert.deepEqual(off.polledAt(), Array.from({ length: 15 }, (_, i) => 4000 * (i + 1)))

  const on = scene({ backoff: true })
  on.world.socket.open()
  await on.world.advance(150_000)
  assert.deepEqual(on.polledAt(), [4000, 10_000, 19_000, 32_500, 52_750, 82_750, 112_750, 142_750])
  await on.publish(started)
  await on.world.advance(10_000)
  assert.deepEqual(on.polledAt().slice(8), [154_000, 160_000])
  await on.publish(node(1), { carried: false }) // What a poll finds is activity as well.
  await on.world.advance(13_000)
  assert.deepEqual(on.polledAt().slice(10), [169_000, 173_000])
})

test('all intervals are options', async () => {
  const { world, polledAt } = scene({ pollMs: 1000, backoff: { factor: 2, maxMs: 3000 } })
  world.socket.open()
  await world.advance(13_000)
  assert.deepEqual(polledAt(), [1000, 3000, 6000, 9000, 12_000])
})

test('a poll and the socket may both bring an event, in either order: it is there once', async () => {
  const { world, run, publish, published } = scene()
  world.socket.open()
  await publish(started)
  published.push(node(1))
  await world.advance(4000) // The poll lists node 1 …
  assert.deepEqual(run.events, [started, node(1)])
  world.socket.say(node(1)) // … and then the socket brings it.
  assert.deepEqual(run.events, [started, node(1)])
  // The answer was under way when the socket brought node 2: it is not in the list, and is kept.
  const good = world.answer
  world.answer = async (request) => {
    const answer = good(request)
    world.socket.say(node(2))
    published.push(node(2))
    return answer
  }
  await world.advance(4000)
  assert.deepEqual(run.events, [started, node(1), node(2)])
})

test('pollAtStart for a run under way; pollAtEnd for a loss just before the end', async () => {
  const start = scene({ pollAtStart: true })
  start.world.socket.open()
  start.published.push(started, node(1))
  await start.world.advance(0)
  assert.deepEqual([start.polledAt(), start.run.events], [[0], [started, node(1)]])

  for (const [pollAtEnd, polls, events] of [[false, [], [started, completed]], [true, [0], [started, node(1), completed]]]) {
    const end = scene({ pollAtEnd })
    end.world.socket.open()
    await end.publish(started)
    await end.publish(node(1), { carried: false })
    await end.publish(completed)
    await end.world.advance(60_000)
    assert.deepEqual([end.polledAt(), end.run.events, end.run.isTerminal], [polls, events, true])
  }
})

test('an ETag is sent back, and 304 leaves the list as it is', async () => {
  const { world, run } = scene()
  world.socket.open()
  world.answer = ({ headers }) => headers['if-none-match'] === '"run-1-1"' ? { status: 304 }
    : { body: { run_id: RUN, events: [started], status: 'running' }, headers: { etag: '"run-1-1"' } }
  await world.advance(12_000)
  assert.deepEqual(world.requests.map(({ headers }) => headers['if-none-match']), [undefined, '"run-1-1"', '"run-1-1"'])
  assert.deepEqual(run.events, [started])
  assert.equal(run.state, 'live')
})

test('close() ends the polls and, behind the last who listens, the socket', async () => {
  const { world, client, run, polledAt } = scene()
  const other = client.followRun('run-2', { username: 'alice' })
  world.socket.open()
  assert.equal(world.sockets.length, 1, 'one socket for both')
  run.close()
  assert.equal(world.openSockets.length, 1)
  other.close()
  await world.advance(60_000)
  assert.deepEqual([world.openSockets.length, world.sockets.length, polledAt()], [0, 1, []])
})
