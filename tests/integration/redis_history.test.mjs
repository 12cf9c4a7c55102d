// Shared history in Redis, the "must show" 3. Proves with a real redis-server and two gateways:
// - a client moves between two gateways with its cursor while events flow: nothing lost, nothing repeated
// - the same when Redis, or one gateway, is killed with -9 in between, and when only the link is cut
// - publishing answers the real cursor; an idempotency key used at A is a duplicate at B
// - plain PUBLISH: ephemeral without a cursor here; with local history it has this gateway's own cursor
// - a stream trimmed beyond the cursor: reset; a hole that cannot be filled: a gap
// - SCRIPT FLUSH, an offset that goes back, a lost key: noticed, told, and events go on
// - outsiders hear the bare payload once; FCALL fanout_publish; braces in names; ACLs without EVALSHA
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { connect, fanout, freePort, readyBecomes, sleep, startRedis, startServer, test, until } from '../support/harness.mjs'
import { data, gateways, HISTORY, Mover, numbers, publisher, upTo } from '../support/shared_history.mjs'

describe('a cursor of one gateway is good at another', () => {
  test('a client moves to and fro while events flow', async (t) => {
    const { a, b } = await gateways(t)
    const flow = publisher([a, b], 'feed:move')
    const mover = new Mover(t, 'feed:move')
    mover.cursor = 'begin'
    for (let i = 0; i < 8; i++) {
      await mover.to([a, b][i % 2])
      await sleep(80)
      await mover.leave()
      await sleep(i % 3 * 40)
    }
    const count = await flow.stop()
    await mover.to(a)
    await until('the last event', () => numbers(mover.client).includes(count - 1) || mover.received.includes(count - 1))
    await mover.leave()
    assert.deepEqual(mover.received, upTo(count))
    assert.ok(count >= 16, `${count} events`)
    assert.ok(!mover.states.includes('reset') && !mover.states.includes('gap'), mover.states.join())
  })

  test('history by GET, SSE and poll at the gateway that did not publish', async (t) => {
    const { a, b } = await gateways(t)
    for (let n = 0; n < 5; n++) await a.publish('feed:ways', n)
    const page = (await b.get('/api/v1/channels/feed:ways/history?since=begin')).json()
    assert.deepEqual(page.events.map((e) => e.data), upTo(5))
    const poll = (await b.get(`/poll?channel=feed:ways&since=${page.events[1].cursor}&wait=0`)).json()
    assert.deepEqual([poll.state, poll.events.map((e) => e.data)], ['replayed', [2, 3, 4]])
    assert.equal(poll.cursor, page.cursor)
  })

  test('a gateway that starts later knows all of it', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const cursors = []
    for (let n = 0; n < 300; n++) cursors.push((await a.publish('feed:late', n)).cursor)
    const late = await startServer(t, { redis, args: HISTORY })
    const client = await connect(t, late, `?channel=feed:late&since=${cursors[9]}`)
    await client.waitFrames(291)
    assert.equal(client.json[0].state, 'replayed')
    assert.deepEqual(numbers(client), upTo(300).slice(10))
    await a.publish('feed:late', 300)
    await client.waitFrames(292)
    assert.equal(numbers(client).at(-1), 300)
  })

  test('kill -9 of one gateway while events flow', async (t) => {
    const { redis, a, b } = await gateways(t)
    const flow = publisher([b], 'feed:kill')
    const mover = new Mover(t, 'feed:kill')
    mover.cursor = 'begin'
    await mover.to(a)
    await sleep(150)
    a.signal('SIGKILL')
    await a.exited
    await mover.leave()
    await mover.to(b)
    await sleep(100)
    await mover.leave()
    const again = await startServer(t, { redis, args: HISTORY })
    await mover.to(again)
    await sleep(100)
    const count = await flow.stop()
    await until('the last event', () => numbers(mover.client).includes(count - 1))
    await mover.leave()
    assert.deepEqual(mover.received, upTo(count))
    assert.ok(!mover.states.includes('reset'), mover.states.join())
  })

  test('kill -9 of Redis (with an append-only file) while events flow', async (t) => {
    const { redis, a, b } = await gateways(t, { redisArgs: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    const flow = publisher([a, b], 'feed:aof')
    const stay = await connect(t, a, '?channel=feed:aof&since=begin')
    const mover = new Mover(t, 'feed:aof')
    mover.cursor = 'begin'
    await mover.to(a)
    await sleep(150)
    await redis.kill9()
    await mover.leave()
    await readyBecomes(b, 503, 3000)
    await redis.restart()
    await mover.to(b)
    await readyBecomes(a, 200, 15_000)
    await sleep(200)
    const count = await flow.stop()
    await until('the last event', () => numbers(mover.client).includes(count - 1) && numbers(stay).includes(count - 1))
    await mover.leave()
    assert.deepEqual(mover.received, upTo(count))
    assert.deepEqual(numbers(stay), upTo(count), 'who stayed missed nothing either')
    assert.deepEqual(stay.json.filter((m) => m.state).map((m) => m.state).filter((s) => s === 'reset'), [])
  })
})

describe('the link and the scripts', () => {
  test('CLIENT KILL TYPE pubsub while events flow: nothing missing, no reset', async (t) => {
    const { redis, a, b } = await gateways(t)
    const client = await connect(t, a, '?channel=feed:cut')
    await client.waitFrames(1)
    const writer = await redis.client(t)
    let n = 0
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 50; i++) await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'feed:cut', String(n++)])
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      for (let i = 0; i < 50; i++) await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'feed:cut', String(n++)])
      await readyBecomes(a, 200, 15_000)
    }
    await until('all of them', () => numbers(client).length >= n)
    assert.deepEqual(numbers(client), upTo(n))
    assert.deepEqual(client.json.filter((m) => m.state || m.gap).map((m) => m.state), ['live'])
    assert.equal((await b.get('/api/v1/channels/feed:cut/history?since=begin&limit=1000')).json().events.length, n)
  })

  test('SCRIPT FLUSH: nobody notices', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const client = await connect(t, a, '?channel=feed:flush')
    await client.waitFrames(1)
    for (let round = 0; round < 3; round++) {
      const before = Array.from({ length: 20 }, (_, i) => a.publish('feed:flush', round * 40 + i))
      await redis.cli('SCRIPT', 'FLUSH')
      const after = Array.from({ length: 20 }, (_, i) => a.publish('feed:flush', round * 40 + 20 + i))
      await Promise.all([...before, ...after])
    }
    await until('all of them', () => numbers(client).length === 120)
    assert.deepEqual([...numbers(client)].sort((x, y) => x - y), upTo(120))
    await redis.cli('SCRIPT', 'FLUSH')
    assert.equal((await a.get('/api/v1/channels/feed:flush/history?since=begin&limit=1000')).json().events.length, 120)
  })

  test('an access list without EVALSHA is told at the start', async (t) => {
    const redis = await startRedis(t)
    await redis.cli('ACL', 'SETUSER', 'gate', 'on', '>secret', '~*', '&*', '+@all', '-@scripting')
    const run = await fanout(['serve', '--listen', `127.0.0.1:${await freePort()}`, '--redis-host', '127.0.0.1', '--redis-port', String(redis.port),
      '--redis-username', 'gate', '--redis-password', 'secret', ...HISTORY])
    assert.notEqual(run.code, 0)
    assert.match(run.stderr + run.stdout, /history in Redis needs SCRIPT LOAD and EVALSHA/)
  })
})

describe('publishing', () => {
  test('every way answers the real cursor, and outsiders hear the bare payload once', async (t) => {
    const { redis, a, b } = await gateways(t)
    const outsider = await redis.client(t)
    const heard = []
    await outsider.pSubscribe(['workflow:events:*', 'room:*', 'fanout:ch:*'], (message, channel) => {
      if (!channel.includes('fanout-canary')) heard.push([channel, message])
    })
    const client = await connect(t, b, '?channel=feed:p&channel=user:bob&channel=room:lounge')
    await client.waitFrames(3)
    const one = await a.publish('feed:p', { n: 1 })
    const two = await b.publish('feed:p', { n: 2 })
    const [epoch, offset] = one.cursor.split(':')
    assert.equal(two.cursor, `${epoch}:${Number(offset) + 1}`)
    const user = await a.publish('user:bob', { type: 'x' })
    const room = await a.publish('room:lounge', 'hello')
    await client.waitFrames(7)
    assert.deepEqual(data(client), [
      { channel: 'feed:p', cursor: one.cursor, data: { n: 1 } },
      { channel: 'feed:p', cursor: two.cursor, data: { n: 2 } },
      { channel: 'user:bob', cursor: user.cursor, data: { type: 'x' } },
      { channel: 'room:lounge', cursor: room.cursor, data: 'hello' }])
    await until('outsiders heard', () => heard.length >= 4)
    assert.deepEqual(heard, [['fanout:ch:feed:p', '{"n":1}'], ['fanout:ch:feed:p', '{"n":2}'],
      ['workflow:events:bob', '{"type":"x"}'], ['room:lounge', '{"room":"lounge","from":"","data":"\\"hello\\""}']])
    const v1 = await connect(t, a, '', { protocols: ['fanout.v1'] })
    await v1.send(JSON.stringify({ id: 1, publish: { channel: 'feed:p', data: 3 } }))
    await v1.waitFrames(1)
    assert.equal(v1.json[0].ok.cursor, `${epoch}:${Number(offset) + 2}`)
  })

  test('an idempotency key used at one gateway is a duplicate at the other', async (t) => {
    const { redis, a, b } = await gateways(t)
    const body = { channel: 'feed:once', data: 1, idempotency_key: 'k 1 {}' }
    const first = (await a.post('/api/v1/publish', body)).json()
    const second = (await b.post('/api/v1/publish', body)).json()
    assert.deepEqual([first.duplicate, second.duplicate], [false, true])
    assert.equal(second.results[0].cursor, first.results[0].cursor)
    assert.equal((await b.get('/api/v1/channels/feed:once/history?since=begin')).json().events.length, 1)
    const [key] = (await redis.cli('KEYS', 'fanout:once:*')).split('\n')
    const ttl = Number(await redis.cli('TTL', key))
    assert.ok(ttl > 590 && ttl <= 600, `${ttl} s`)
  })

  test('plain PUBLISH: delivered without a cursor, in no history; twins of nobody are not swallowed', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const client = await connect(t, a, '?channel=user:eph')
    await client.waitFrames(1)
    const one = await a.publish('user:eph', { n: 1 })
    await redis.publish('workflow:events:eph', '{"n":1}') // The same once more, but nobody's twin.
    await redis.publish('workflow:events:eph', '{"n":"plain"}')
    const two = await a.publish('user:eph', { n: 2 })
    await client.waitFrames(5)
    assert.deepEqual(data(client), [
      { channel: 'user:eph', cursor: one.cursor, data: { n: 1 } },
      { channel: 'user:eph', data: { n: 1 } },
      { channel: 'user:eph', data: { n: 'plain' } },
      { channel: 'user:eph', cursor: two.cursor, data: { n: 2 } }])
    assert.equal(Number(two.cursor.split(':')[1]), Number(one.cursor.split(':')[1]) + 1)
    assert.deepEqual((await a.get('/api/v1/channels/user:eph/history?since=begin')).json().events.map((e) => e.data), [{ n: 1 }, { n: 2 }])
  })

  test('plain PUBLISH with local history: this gateway\'s own cursor, which another answers with reset', async (t) => {
    const { redis, a, b } = await gateways(t)
    const client = await connect(t, a, '?channel=local:x')
    await client.waitFrames(1)
    await redis.publish('fanout:ch:local:x', '1')
    await client.waitFrames(2)
    const other = await connect(t, b, `?channel=local:x&since=${data(client)[0].cursor}`)
    await other.waitFrames(1)
    assert.equal(other.json[0].state, 'reset')
  })

  test('FCALL by others, names with braces, empty payloads', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const name = 'feed:a{b}c%25}'
    const client = await connect(t, a, `?channel=${encodeURIComponent(name)}&channel=room:r`)
    await client.waitFrames(2)
    const writer = await redis.client(t)
    const cursor = await writer.sendCommand(['FCALL', 'fanout_publish', '0', name, '"x"'])
    const mine = await a.publish(name, 'y')
    await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'room:r', 'bare "text"'])
    await client.waitFrames(5)
    assert.deepEqual(data(client).map((m) => [m.channel, m.data]), [[name, 'x'], [name, 'y'], ['room:r', 'bare "text"']])
    assert.equal(data(client)[0].cursor, cursor)
    assert.equal(Number(mine.cursor.split(':')[1]), 2)
    const keys = (await redis.cli('KEYS', 'fanout:history:*')).split('\n')
    assert.ok(keys.includes('fanout:history:{feed:a%7Bb%7Dc%2525%7D}'), keys.join())
  })
})

describe('what cannot be had any more', () => {
  test('a stream trimmed beyond the cursor: reset', async (t) => {
    const { redis, a, b } = await gateways(t)
    const cursors = []
    for (let n = 0; n < 10; n++) cursors.push((await a.publish('feed:trim', n)).cursor)
    await redis.cli('XTRIM', 'fanout:history:{feed:trim}', 'MAXLEN', '3')
    const lost = await connect(t, b, `?channel=feed:trim&since=${cursors[3]}`)
    const good = await connect(t, b, `?channel=feed:trim&since=${cursors[6]}`)
    await lost.waitFrames(1)
    await good.waitFrames(4)
    assert.deepEqual([lost.json[0].state, good.json[0].state], ['reset', 'replayed'])
    assert.deepEqual(numbers(good), [7, 8, 9])
    assert.deepEqual(numbers(lost), [])
  })

  test('missed while the link was away, and not kept: a gap for who stayed', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const client = await connect(t, a, '?channel=feed:gap')
    await client.waitFrames(1)
    await a.publish('feed:gap', 0)
    await client.waitFrames(2)
    a.signal('SIGSTOP')
    const writer = await redis.client(t)
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
    for (let n = 1; n < 10; n++) await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'feed:gap', String(n)])
    await redis.cli('XTRIM', 'fanout:history:{feed:gap}', 'MAXLEN', '4')
    a.signal('SIGCONT')
    await until('the rest', () => numbers(client).includes(9))
    assert.deepEqual(numbers(client), [0, 6, 7, 8, 9])
    assert.deepEqual(client.json.filter((m) => m.gap).map((m) => [m.gap.from, m.gap.to]), [[2, 6]])
  })

  test('offsets that went back, as after a fail-over: a new epoch, told by reset', async (t) => {
    const { redis, a, b } = await gateways(t)
    const client = await connect(t, a, '?channel=feed:back')
    await client.waitFrames(1)
    const cursors = []
    for (let n = 0; n < 5; n++) cursors.push((await b.publish('feed:back', n)).cursor)
    await client.waitFrames(6)
    await redis.cli('XTRIM', 'fanout:history:{feed:back}', 'MAXLEN', '0')
    await redis.cli('DEL', 'fanout:history:{feed:back}')
    await redis.cli('HSET', 'fanout:meta:{feed:back}', 'last', '2')
    await b.publish('feed:back', 'again')
    await client.waitJson('reset', (m) => m.state === 'reset')
    const next = await b.publish('feed:back', 'next')
    await client.waitJson('next', (m) => m.data === 'next')
    assert.deepEqual(numbers(client), [0, 1, 2, 3, 4, 'again', 'next'])
    assert.notEqual(next.cursor.split(':')[0], cursors[0].split(':')[0])
    const old = await connect(t, b, `?channel=feed:back&since=${cursors[4]}`)
    await old.waitFrames(1)
    assert.equal(old.json[0].state, 'reset')
  })

  test('Redis comes back empty: reset, and events go on', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const client = await connect(t, a, '?channel=feed:empty')
    await client.waitFrames(1)
    await a.publish('feed:empty', 1)
    await client.waitFrames(2)
    await redis.kill9()
    await readyBecomes(a, 503, 3000)
    await redis.restart()
    await readyBecomes(a, 200, 15_000)
    await client.waitJson('reset', (m) => m.state === 'reset')
    await a.publish('feed:empty', 2)
    await client.waitJson('2', (m) => m.data === 2)
    assert.deepEqual(numbers(client), [1, 2])
  })

  test('nothing is kept (history_messages=0): live all the same, and reset for a cursor', async (t) => {
    const { a, b } = await gateways(t)
    const client = await connect(t, b, '?channel=none:x')
    await client.waitFrames(1)
    const one = await a.publish('none:x', 1)
    await a.publish('none:x', 2)
    await client.waitFrames(3)
    assert.deepEqual(numbers(client), [1, 2])
    const back = await connect(t, b, `?channel=none:x&since=${one.cursor}`)
    await back.waitFrames(1)
    assert.equal(back.json[0].state, 'reset')
  })
})
