// fanout-client/react in a DOM (happy-dom), on a virtual clock. Proves:
// - useWorkflowEvents, useUserEvents, useChannel return what has come and re-render; StrictMode changes nothing
// - components that ask for the same share one subscription; leaving closes it, a changed key moves it
// - onCompleted is called once a run, with the callback of the last render
// - ConnectionStatus says what people read, politely; rendering on a server works and connects nothing
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { Window } from 'happy-dom'

const window = new Window({ url: 'http://gateway/page' })
for (const name of ['window', 'document', 'HTMLElement', 'Node', 'MutationObserver', 'location']) globalThis[name] = name === 'window' ? window : window[name]
Object.defineProperty(globalThis, 'navigator', { value: window.navigator, configurable: true })
globalThis.IS_REACT_ACT_ENVIRONMENT = true

const { createElement: h, StrictMode } = await import('react')
const { act, cleanup, render } = await import('@testing-library/react')
const { renderToString } = await import('react-dom/server')
const { connect } = await import('../dist/index.js')
const { ConnectionStatus, FanoutProvider, useChannel, useUserEvents, useWorkflowEvents } = await import('../dist/react.js')
const { Gateway } = await import('./support/gateway.mjs')
const { settle, World } = await import('./support/world.mjs')

afterEach(cleanup)

function scene(options = {}) {
  const world = new World()
  const gateway = new Gateway(world)
  const client = connect('http://gateway', { environment: world.environment, ...options })
  const show = (element, { strict = true } = {}) => {
    const inside = h(FanoutProvider, { client }, element)
    return render(strict ? h(StrictMode, null, inside) : inside)
  }
  const up = () => act(() => gateway.up())
  const publish = (channel, data) => act(async () => { gateway.publish(channel, data); await settle() })
  const advance = (ms) => act(() => world.advance(ms))
  /** Past the moment that a store waits before it closes. */
  const leave = () => act(() => new Promise((done) => setTimeout(done, 20)))
  return { world, gateway, client, show, up, publish, advance, leave }
}
const event = (type, run_id = 'r1', more = {}) => ({ type, run_id, ...more })

function RunView({ run = 'r1', user = 'alice', options }) {
  const { events, isTerminal, status, state } = useWorkflowEvents(run, user, options)
  return h('p', null, `${events.map(({ type }) => type).join(' ')}|${isTerminal}|${status}|${state}`)
}

test('useWorkflowEvents: events, isTerminal, state; one subscription for two components in StrictMode', async () => {
  const { world, gateway, show, up, publish, leave } = scene()
  const view = show(h('div', null, h(RunView), h(RunView)))
  const texts = () => [...view.container.querySelectorAll('p')].map((p) => p.textContent)
  assert.deepEqual(texts(), Array(2).fill('|false|running|catching-up'))
  await up()
  await publish('user:alice', event('workflow_started'))
  await publish('user:alice', event('node_completed', 'other'))
  assert.deepEqual(texts(), Array(2).fill('workflow_started|false|running|live'))
  await publish('user:alice', event('workflow_completed'))
  assert.deepEqual(texts(), Array(2).fill('workflow_started workflow_completed|true|completed|live'))
  assert.deepEqual(gateway.commands.map((command) => command.subscribe?.channel), ['user:alice'])
  view.unmount()
  await leave()
  assert.deepEqual(gateway.commands.at(-1).unsubscribe, { channel: 'user:alice' })
  assert.equal(world.sockets.length, 1)
})

test('useWorkflowEvents polls while the socket is silent, with the options given', async () => {
  const { world, show, up, advance } = scene()
  const answer = world.answer
  world.answer = (request) => request.path.endsWith('/runs/r1/events')
    ? { body: { run_id: 'r1', events: [event('workflow_started')], status: 'running' } } : answer(request)
  const view = show(h(RunView, { options: { pollMs: 1000 } }))
  await up()
  await advance(3500)
  assert.deepEqual(world.requestsTo('/runs/').map(({ at }) => at), [1000, 2000, 3000])
  assert.equal(view.container.textContent, 'workflow_started|false|running|live')
})

test('useWorkflowEvents waits for an id, and moves to another run', async () => {
  const { world, client, up, publish, leave } = scene()
  const tree = (run) => h(StrictMode, null, h(FanoutProvider, { client }, h(RunView, { run: run ?? '' })))
  const view = render(tree(undefined))
  await leave()
  assert.deepEqual([view.container.textContent, world.sockets.length], ['|false|running|catching-up', 0])
  view.rerender(tree('r1'))
  await up()
  await publish('user:alice', event('workflow_started', 'r1'))
  assert.equal(view.container.textContent, 'workflow_started|false|running|live')
  view.rerender(tree('r2'))
  await leave()
  await publish('user:alice', event('node_completed', 'r1'))
  await publish('user:alice', event('workflow_failed', 'r2'))
  assert.equal(view.container.textContent, 'workflow_failed|true|failed|live')
  assert.equal(world.sockets.length, 1)
})

test('useUserEvents: every run, the last max events; onCompleted once a run, the callback of the last render', async () => {
  const { client, up, publish } = scene()
  const toasts = []
  function View({ label }) {
    const { events } = useUserEvents('alice', { max: 3, onCompleted: ({ runId, status, event: { type } }) => toasts.push([label, runId, status, type]) })
    return h('p', null, events.map(({ run_id }) => run_id).join(' '))
  }
  const tree = (label) => h(FanoutProvider, { client }, h(View, { label }))
  const view = render(tree('first'))
  await up()
  for (const run of ['a', 'b', 'c', 'd']) await publish('user:alice', event('node_completed', run))
  assert.equal(view.container.textContent, 'b c d')
  for (let twice = 0; twice < 2; twice++) await publish('user:alice', event('workflow_completed', 'a'))
  view.rerender(tree('second'))
  await publish('user:alice', event('workflow_cancelled', 'd'))
  assert.deepEqual(toasts, [['first', 'a', 'completed', 'workflow_completed'], ['second', 'd', 'cancelled', 'workflow_cancelled']])
})

test('useChannel: events, callbacks, resets, refusals', async () => {
  const { gateway, show, up, publish } = scene()
  gateway.refuse = { 'a:no': { code: 'forbidden', message: 'not yours' } }
  const heard = []
  function View({ channel }) {
    const { events, resets, error, state } = useChannel(channel, {
      since: 'begin', onEvent: ({ data }) => heard.push(data), onReset: () => heard.push('reset')
    })
    return h('p', null, `${channel} ${events.map(({ data }) => data).join(' ')}|${resets}|${error?.message}|${state}`)
  }
  gateway.publish('a:yes', 0)
  const view = show(h('div', null, h(View, { channel: 'a:yes' }), h(View, { channel: 'a:no' })))
  await up()
  await publish('a:yes', 1)
  gateway.newEpoch('e2')
  await publish('a:yes', 2)
  assert.deepEqual([...view.container.querySelectorAll('p')].map((p) => p.textContent),
    ['a:yes 0 1 2|1|undefined|live', 'a:no |0|not yours|offline'])
  assert.deepEqual(heard, [0, 1, 'reset', 2])
})

test('ConnectionStatus: the client\'s state or a hook\'s, in words, politely', async () => {
  const { world, client, show, up, advance } = scene()
  client.subscribe('a:x')
  const view = show(h('div', null, h(ConnectionStatus), h(ConnectionStatus, { state: 'polling' }), h(ConnectionStatus, { words: { live: 'en direct' }, className: 'mine' })))
  const shown = () => [...view.container.querySelectorAll('[role=status]')].map((one) => [one.textContent, one.dataset.state])
  assert.deepEqual(shown()[0], ['catching up', 'catching-up'])
  await up()
  await advance(0)
  assert.deepEqual(shown(), [['live', 'live'], ['real-time updates unavailable, polling', 'polling'], ['en direct', 'live']])
  await act(async () => { world.socket.drop(); await settle() })
  assert.deepEqual(shown()[0], ['offline, trying again', 'offline'])
  assert.ok(view.container.querySelector('.mine[aria-live=polite]'))
})

test('on a server it renders what is known before anything, and connects nothing', async () => {
  const { world, client } = scene()
  const html = renderToString(h(FanoutProvider, { client }, h('div', null, h(RunView), h(ConnectionStatus))))
  assert.match(html, /\|false\|running\|catching-up/)
  await world.advance(10_000)
  assert.deepEqual([world.sockets.length, world.requests.length], [0, 0])
})
