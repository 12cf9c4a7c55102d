// The small parts: cursors, hints, filters, the event-stream decoder, the list of a run.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { retryHint } from '../dist/backoff.js'
import { isAhead, parseCursor, relate } from '../dist/cursor.js'
import { decodePayload, typeFilter } from '../dist/payload.js'
import { RunList } from '../dist/run_list.js'
import { SseDecoder } from '../dist/sse.js'
import { seeded } from './support/world.mjs'

test('cursors: what is none is undefined, never a wrong number', () => {
  assert.deepEqual(parseCursor('e1:42'), { epoch: 'e1', offset: 42 })
  assert.deepEqual(parseCursor(`z:${Number.MAX_SAFE_INTEGER}`), { epoch: 'z', offset: Number.MAX_SAFE_INTEGER })
  for (const bad of [undefined, null, '', ':', 'e1', 'e1:', ':1', 'E1:1', 'e1:-1', 'e1:1.5', 'e1:9007199254740992', 'e1:99999999999999999', 'e1:1 ', 'begin', '-']) {
    assert.equal(parseCursor(bad), undefined, `${bad}`)
  }
})

test('cursors: next, seen, hole, other epoch', () => {
  const G = 2 ** 40
  for (const [at, event, expected] of [
    ['e:5', 'e:6', 'next'], ['e:5', 'e:5', 'seen'], ['e:5', 'e:4', 'seen'], ['e:5', 'e:7', 'hole'], ['e:5', 'f:6', 'other-epoch'],
    [`e:${G - 1}`, `e:${G}`, 'hole'], [`e:${G}`, `e:${G + 1}`, 'next'], ['e:5', `e:${3 * G + 1}`, 'hole'], ['e:0', 'e:1', 'next']
  ]) assert.equal(relate(parseCursor(at), parseCursor(event)), expected, `${at} ${event}`)
  assert.equal(isAhead(parseCursor('f:9'), parseCursor('e:1')), false)
})

test('hints in close reasons', () => {
  for (const [reason, ms] of [['retry_ms=250', 250], ['draining; retry_ms=10', 10], ['', 0], [undefined, 0], ['retry_ms=', 0], ['retry_ms=-5', 0], ['xretry_ms=5', 0], ['retry_ms=99999999', 0], ['retry_ms=5x', 0]]) {
    assert.equal(retryHint(reason), ms, `${reason}`)
  }
})

test('payloads: JSON, text, bytes', () => {
  assert.deepEqual(decodePayload({ data: { a: 1 } }), { a: 1 })
  assert.equal(decodePayload({ data: 'x', enc: 'text' }), 'x')
  assert.deepEqual(decodePayload({ data: 'AP/+gA==', enc: 'base64' }), Uint8Array.of(0, 255, 254, 128))
})

test('type filters mean what types= means', () => {
  const wanted = typeFilter(['a', 'b_*'])
  for (const [data, expected] of [[{ type: 'a' }, true], [{ type: 'ab' }, false], [{ type: 'b_' }, true], [{ type: 'b_x' }, true], [{ type: 'b' }, false], [{}, false], ['a', false], [null, false], [{ type: 1 }, false]]) {
    assert.equal(wanted(data), expected, JSON.stringify(data))
  }
  assert.equal(typeFilter([])('anything'), true)
})

const STREAM = '\ufeff: hello\n\nevent: state\ndata: {"a":1}\n\ndata: one\r\ndata:two\r\rid: 7\ndata:  spaced\nretry: 1500\nretry: soon\nignored\n\ndata\n\nevent: lost\n\ndata: é😀\n\ndata: unfinished'

test('an event stream, in pieces of every size, is the same events', () => {
  const expected = [
    { event: 'state', data: '{"a":1}' }, { event: 'message', data: 'one\ntwo' }, { event: 'message', data: ' spaced' },
    { event: 'message', data: '' }, { event: 'message', data: 'é😀' }
  ]
  const whole = new SseDecoder()
  assert.deepEqual(whole.push(STREAM), expected)
  assert.equal(whole.retryMs, 1500)
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed)
    const decoder = new SseDecoder()
    const got = []
    for (let at = 0; at < STREAM.length;) {
      const size = seed === 1 ? 1 : Math.floor(random() * 9)
      got.push(...decoder.push(STREAM.slice(at, at + size)))
      at += size
    }
    assert.deepEqual(got, expected, `seed ${seed}`)
  }
})

test('a line without an end is an error, not memory', () => {
  const decoder = new SseDecoder()
  assert.throws(() => { for (let i = 0; i < 40; i++) decoder.push('x'.repeat(1024 * 1024)) }, RangeError)
})

test('a run\'s list against a model: whatever the order of socket and polls, each event once', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const list = new RunList()
    const all = Array.from({ length: 30 }, (_, n) => ({ type: 'e', run_id: 'r', n: n % 25 })) // Five come twice.
    let published = 0
    const waiting = [] // Published, and still on its way over the socket.
    let asked // What the poll under way will answer.
    const receive = () => { const event = waiting.shift(); if (random() > 0.2) list.receive(event) }
    while (published < all.length) {
      const what = random()
      if (what < 0.4) waiting.push(all[published++])
      else if (what < 0.8) { if (waiting.length) receive() }
      else if (asked) { list.replace(asked); asked = undefined }
      else { list.pollBegins(); asked = all.slice(0, published) }
    }
    while (waiting.length) receive()
    list.pollBegins()
    list.replace(all)
    assert.deepEqual(list.events, all, `seed ${seed}`)
  }
})

test('a run\'s list: the status is the terminal event\'s', () => {
  for (const [type, status] of [['workflow_completed', 'completed'], ['workflow_failed', 'failed'], ['workflow_cancelled', 'cancelled'], ['node_failed', 'running'], ['constructor', 'running']]) {
    const list = new RunList()
    list.receive({ type: 'workflow_started', run_id: 'r' })
    list.receive({ type, run_id: 'r' })
    assert.equal(list.status, status)
  }
})
