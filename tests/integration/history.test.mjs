// Cursors and replay from the in-memory ring, wire.md "Cursor". Proves:
// - since= a cursor: replayed with exactly what was missed, or live when nothing was; since=begin: all
//   that is kept; another epoch, garbage, or too old a cursor: reset, never 400
// - nothing falls between replay and live while a publisher keeps publishing
// - a comma list for several channels, '-' for none; raw sockets get the state as a header
// - GET /api/v1/channels/{c}/history pages upwards
// - a replay is written in pages: sockets that ask for everything and read nothing cost a page each, and
//   get all of it, in order, once they read
// - a slow envelope subscriber gets gap notices with inclusive offsets that, with the events, have no hole
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { assertError, connect, shared, sleep, startServer, test, until } from '../support/harness.mjs'
import { OP, rawWs } from '../support/raw.mjs'

const offset = (cursor) => Number(cursor.split(':')[1])
const epoch = (cursor) => cursor.split(':')[0]
const events = (client) => client.json.filter((m) => 'data' in m)

describe('replay', () => {
  const at = shared(async (t) => ({ server: await startServer(t, { args: ['--namespace', 'h:history_messages=100000,history_bytes=64MiB'] }) }))
  const open = (t, channel, since) => connect(t, at.server, `?channel=${channel}${since === undefined ? '' : `&since=${encodeURIComponent(since)}`}`)
  const fill = async (channel, count) => {
    const cursors = []
    for (let i = 0; i < count; i++) cursors.push((await at.server.publish(channel, i)).cursor)
    return cursors
  }

  test('since is exclusive: exactly what was missed, in order, then live', async (t) => {
    const cursors = await fill('h:a', 10)
    const client = await open(t, 'h:a', cursors[3])
    await client.waitFrames(7)
    assert.equal(client.json[0].state, 'replayed')
    await at.server.publish('h:a', 'live')
    await client.waitFrames(8)
    assert.deepEqual(events(client).map((m) => m.data), [4, 5, 6, 7, 8, 9, 'live'])
    assert.deepEqual(events(client).slice(0, 6).map((m) => m.cursor), cursors.slice(4))
  })

  test('a cursor at the end is live', async (t) => {
    const cursors = await fill('h:b', 3)
    const client = await open(t, 'h:b', cursors[2])
    await client.waitFrames(1)
    assert.equal(client.json[0].state, 'live')
    assert.equal(client.json[0].cursor, cursors[2])
    await at.server.publish('h:b', 'next')
    await client.waitFrames(2)
    assert.deepEqual(events(client).map((m) => m.data), ['next'])
  })

  test('without since: live only; since=begin: all that is kept', async (t) => {
    await fill('h:c', 4)
    const live = await open(t, 'h:c')
    const all = await open(t, 'h:c', 'begin')
    await live.waitFrames(1)
    await all.waitFrames(5)
    assert.equal(live.json[0].state, 'live')
    assert.equal(all.json[0].state, 'replayed')
    assert.deepEqual(events(all).map((m) => m.data), [0, 1, 2, 3])
    await at.server.publish('h:c', 'end')
    await live.waitFrames(2)
    assert.deepEqual(events(live).map((m) => m.data), ['end'])
  })

  test('another epoch, garbage, and a cursor ahead of the channel are reset, never 400', async (t) => {
    const cursors = await fill('h:d', 3)
    const ahead = `${epoch(cursors[2])}:${offset(cursors[2]) + 1000}`
    for (const since of ['zzzz9:1', 'garbage', '', ':', 'a:b', ahead, `${epoch(cursors[0])}:-1`, `${epoch(cursors[0])}:99999999999999999999`, '🙂', 'x'.repeat(500)]) {
      const client = await open(t, 'h:d', since)
      await client.waitFrames(1)
      assert.equal(client.json[0].state, since === '' ? client.json[0].state : 'reset', `since=${since}`)
      assert.match(client.json[0].cursor, /^[a-z0-9]+:\d+$/)
    }
  })

  test('a cursor that history no longer reaches is reset', async (t) => {
    const first = (await at.server.publish('h:e', 'first')).cursor
    const payload = 'x'.repeat(16_384)
    let reset
    // The ring is bounded: by when it has been turned over, asking for the first event must say so.
    for (let round = 0; round < 60 && !reset; round++) {
      await Promise.all(Array.from({ length: 100 }, () => at.server.publishRaw('h:e', payload)))
      const client = await open(t, 'h:e', first)
      await client.waitFrames(1)
      reset = client.json[0].state === 'reset'
      await client.close()
    }
    assert.ok(reset, '6000 events of 16 KiB were kept, all of them')
  })

  test('nothing is missed or doubled between replay and live under steady publishing', async (t) => {
    const cursors = await fill('h:f', 1) // cursors[n] is the cursor of event n.
    let publishing = true
    const publisher = (async () => {
      while (publishing) cursors.push((await at.server.publish('h:f', cursors.length)).cursor)
    })()
    for (let round = 0; round < 20; round++) {
      const from = Math.max(0, cursors.length - 20)
      const client = await open(t, 'h:f', cursors[from])
      const target = cursors.length + 20
      await until('it has caught up and gone on', () => (events(client).at(-1)?.data ?? 0) >= target)
      assert.notEqual(client.json[0].state, 'reset')
      const numbers = events(client).map((m) => m.data)
      assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, i) => from + 1 + i))
      await client.close()
    }
    publishing = false
    await publisher
  })

  test('several channels take a comma list in their order, with - for none', async (t) => {
    const [x, y] = [await fill('h:x', 3), await fill('h:y', 3)]
    await fill('h:z', 2)
    const client = await connect(t, at.server, `?channel=h:x&channel=h:y&channel=h:z&since=${x[0]},${y[2]},-`)
    await client.waitFrames(5)
    const states = Object.fromEntries(client.json.filter((m) => m.state).map((m) => [m.channel, m.state]))
    assert.deepEqual(states, { 'h:x': 'replayed', 'h:y': 'live', 'h:z': 'live' })
    assert.deepEqual(events(client).map((m) => [m.channel, m.data]), [['h:x', 1], ['h:x', 2]])
  })

  test('fanout.v1 subscribe takes since', async (t) => {
    const cursors = await fill('h:v', 3)
    const client = await connect(t, at.server, '?channel=h:none', { protocols: ['fanout.v1'] })
    await client.send(JSON.stringify({ id: 1, subscribe: { channel: 'h:v', since: cursors[0] } }))
    await until('two events', () => events(client).length === 2)
    assert.deepEqual(events(client).map((m) => m.data), [1, 2])
    assert.equal(client.json.find((m) => m.state && m.channel === 'h:v').state, 'replayed')
  })

  test('a raw socket replays payloads alone and names the state in a header', async (t) => {
    const cursors = await fill('user:raw', 3)
    const client = await connect(t, at.server, `?username=raw&since=${cursors[0]}`)
    await client.waitFrames(2)
    assert.deepEqual(client.texts, ['1', '2'])
    assert.match(client.headers['fanout-state'], /^replayed/)
  })

  test('GET history pages upwards and ends with more:false', async () => {
    const cursors = await fill('h:page', 25)
    const path = '/api/v1/channels/h:page/history'
    const got = []
    let since = 'begin'
    for (let page = 0; page < 5; page++) {
      const reply = await at.server.get(`${path}?since=${since}&limit=10`)
      assert.equal(reply.status, 200, reply.text)
      const body = reply.json()
      assert.equal(body.channel, 'h:page')
      got.push(...body.events)
      since = body.cursor
      assert.equal(body.more, got.length < 25)
      if (!body.more) break
    }
    assert.deepEqual(got.map((e) => e.data), Array.from({ length: 25 }, (_, i) => i))
    assert.deepEqual(got.map((e) => e.cursor), cursors)
    const reset = (await at.server.get(`${path}?since=other0:5`)).json()
    assert.equal(reset.state, 'reset')
    const after = (await at.server.get(`${path}?since=${cursors[24]}`)).json()
    assert.deepEqual([after.events, after.more, after.cursor], [[], false, cursors[24]])
    assertError(await at.server.get('/api/v1/channels/BAD/history'), 400)
  })
})

describe('pages', () => {
  test('40 sockets that ask for 11 channels from the beginning and do not read cost a page each', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'p:history_messages=10000,history_bytes=4MiB,history_age=1h'] })
    const channels = Array.from({ length: 11 }, (_, i) => `p:${i}`)
    const payload = 'x'.repeat(10_000)
    for (const channel of channels) for (let i = 0; i < 100; i++) await server.publishRaw(channel, payload)
    const before = server.rssKb()
    const query = `?${channels.map((c) => `channel=${c}`).join('&')}&since=begin`
    const sockets = await Promise.all(Array.from({ length: 40 }, async () => {
      const ws = await rawWs(t, server, query)
      ws.socket.pause()
      return ws
    }))
    await until('all subscriptions are answered', async () => (await server.metrics()).value('fanout_replayed_messages_total') >= 40)
    await sleep(500)
    const grown = server.rssKb() - before
    assert.ok(grown < 40 * 2000, `40 MB of history were asked for by each of 40 sockets; memory grew by ${grown} KiB`)
    const reader = sockets[0]
    reader.socket.resume()
    const seen = new Map(channels.map((c) => [c, []]))
    await until('it has everything', () => {
      reader.parse()
      while (reader.frames.length) {
        const frame = reader.frames.shift()
        const message = frame.opcode === OP.TEXT ? JSON.parse(frame.payload) : {}
        if ('data' in message) seen.get(message.channel).push(offset(message.cursor))
      }
      return channels.every((c) => seen.get(c).length >= 100)
    }, { ms: 20_000 })
    for (const [channel, offsets] of seen) {
      assert.deepEqual(offsets, Array.from({ length: 100 }, (_, i) => offsets[0] + i), channel)
    }
  })
})

describe('gaps', () => {
  test('events and gap notices of a slow envelope subscriber leave no hole and say nothing twice', async (t) => {
    const server = await startServer(t, { args: ['--namespace', 'g:outbox_messages=16'] })
    const slow = await rawWs(t, server, '?channel=g:x')
    const state = JSON.parse((await slow.next()).payload)
    slow.socket.pause()
    const payload = JSON.stringify('x'.repeat(60_000))
    const cursors = []
    for (let i = 0; i < 400; i++) cursors.push((await server.publishRaw('g:x', payload)).results[0].cursor)
    slow.socket.resume()
    const last = offset(cursors.at(-1))
    const messages = []
    await until('it has heard of the last event', () => {
      slow.parse()
      while (slow.frames.length) {
        const frame = slow.frames.shift()
        if (frame.opcode === OP.TEXT) messages.push(JSON.parse(frame.payload))
      }
      return messages.some((m) => (m.gap ? m.gap.to : offset(m.cursor)) >= last)
    }, { ms: 20_000 })
    let next = offset(state.cursor) + 1
    let gaps = 0
    for (const message of messages) {
      if (message.gap) {
        assert.equal(message.gap.channel, 'g:x')
        assert.equal(message.gap.reason, 'slow')
        assert.equal(message.gap.from, next, 'a gap begins where the last event ended')
        assert.ok(message.gap.to >= message.gap.from)
        next = message.gap.to + 1
        gaps++
      } else {
        assert.equal(offset(message.cursor), next)
        next++
      }
    }
    assert.equal(next, last + 1)
    assert.ok(gaps > 0, '24 MB into a paused socket and nothing was dropped')
  })
})
