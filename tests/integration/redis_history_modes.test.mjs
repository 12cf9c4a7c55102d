// Shared history in Redis where the gateway subscribes channel by channel (redis.mode exact and sharded).
// Proves in both, with a real redis-server and two gateways:
// - a client moves between two gateways with its cursor while events flow; Redis killed with -9, the link cut
// - *live* is told when Redis has confirmed both names, so nothing after it is missed
// - an event comes once, its twin is swallowed; outsiders hear it bare; a plain publication has no cursor
// - FCALL by others reaches gateways, and what was published while nobody listened is in the history
// - a channel that nobody here listens to is answered from Redis, not from what was heard once
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { connect, LONG, readyBecomes, sleep, startServer, test, until } from '../support/harness.mjs'
import { data, gateways, HISTORY, Mover, numbers, publisher, upTo } from '../support/shared_history.mjs'

/** How each mode says it. */
const MODES = {
  exact: { publish: 'PUBLISH', unheard: 'SPUBLISH', channels: 'CHANNELS', listen: 'subscribe' },
  sharded: { publish: 'SPUBLISH', unheard: 'PUBLISH', channels: 'SHARDCHANNELS', listen: 'sSubscribe' }
}

for (const [mode, says] of Object.entries(MODES)) {
  const start = (t, options = {}) => gateways(t, { ...options, args: ['--redis-mode', mode, ...(options.args ?? [])] })
  const subscribed = async (redis, pattern) => (await redis.cli('PUBSUB', says.channels, pattern)).split('\n').filter(Boolean).sort()

  describe(`${mode}: a cursor of one gateway is good at another`, () => {
    test('a client moves to and fro while events flow', async (t) => {
      const { a, b } = await start(t)
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

    test('kill -9 of Redis (with an append-only file) while events flow', async (t) => {
      const { redis, a, b } = await start(t, { redisArgs: ['--appendonly', 'yes', '--appendfsync', 'always'] })
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
      assert.ok(!stay.json.some((m) => m.state === 'reset'), 'no reset for who stayed')
    })

    test('CLIENT KILL TYPE pubsub while events flow: nothing missing, no reset', async (t) => {
      const { redis, a, b } = await start(t)
      const client = await connect(t, a, '?channel=feed:cut')
      await client.waitFrames(1)
      const writer = await redis.client(t)
      let n = 0
      const write = async (count) => {
        for (let i = 0; i < count; i++) await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'feed:cut', String(n++)])
      }
      for (let round = 0; round < 3; round++) {
        await write(50)
        await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
        await write(50)
        await readyBecomes(a, 200, 15_000)
      }
      await until('all of them', () => numbers(client).length >= n)
      assert.deepEqual(numbers(client), upTo(n))
      assert.deepEqual(client.json.filter((m) => m.state || m.gap).map((m) => m.state), ['live'])
      assert.equal((await b.get('/api/v1/channels/feed:cut/history?since=begin&limit=1000')).json().events.length, n)
    })
  })

  describe(`${mode}: subscribing`, () => {
    test('both names with the first listener, none before; live comes when they are confirmed', async (t) => {
      const { redis, a } = await start(t, { count: 1 })
      const writer = await redis.client(t)
      assert.deepEqual(await subscribed(redis, '*feed:*'), [])
      for (let i = 0; i < 30; i++) {
        const client = await connect(t, a, `?channel=feed:conf-${i}`)
        await client.waitFrames(1)
        assert.equal(client.json[0].state, 'live')
        await writer.sendCommand(['FCALL', 'fanout_publish', '0', `feed:conf-${i}`, String(i)])
        await client.waitFrames(2)
        assert.deepEqual([client.json[1].data, client.json[1].cursor?.split(':')[1]], [i, '1'])
      }
      assert.deepEqual(await subscribed(redis, '*feed:conf-7*'), ['fanout:ch:feed:conf-7', 'fanout:pub:{feed:conf-7}'])
      await connect(t, a, '?channel=local:x')
      await until('a channel with local history has one', async () => (await subscribed(redis, '*local:x*')).length)
      assert.deepEqual(await subscribed(redis, '*local:x*'), ['fanout:ch:local:x'])
    })

    test('1000 channels at once, each with its own event, also after the link was cut', async (t) => {
      const { redis, a, b } = await start(t)
      const clients = []
      for (let i = 0; i < 500; i += 50) {
        clients.push(...await Promise.all(Array.from({ length: 50 }, (_, k) => connect(t, a, `?channel=feed:m-${i + k}&channel=user:m-${i + k}`))))
      }
      for (const client of clients) await client.waitFrames(2, 15_000)
      const everyone = async (n) => {
        for (let i = 0; i < clients.length; i += 50) {
          await Promise.all(clients.slice(i, i + 50).flatMap((_, k) => [b.publish(`feed:m-${i + k}`, n), b.publish(`user:m-${i + k}`, n)]))
        }
      }
      await everyone(1)
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      for (const gateway of [a, b]) await gateway.waitLine(/ev=redis.down/)
      await readyBecomes(b, 200, 15_000)
      await everyone(2)
      await readyBecomes(a, 200, 15_000)
      await everyone(3)
      for (const client of clients) await until('its six events', () => data(client).length >= 6)
      for (const client of clients) {
        for (const ns of ['feed', 'user']) assert.deepEqual(data(client).filter((m) => m.channel.startsWith(ns)).map((m) => m.data), [1, 2, 3])
        assert.ok(!client.json.some((m) => m.state === 'reset' || m.gap))
      }
    })

    test('who comes while Redis is away is answered when it is back', async (t) => {
      const { redis, a, b } = await start(t, { redisArgs: ['--appendonly', 'yes', '--appendfsync', 'always'] })
      const first = await b.publish('feed:away', 1)
      await redis.kill9()
      await readyBecomes(a, 503, 3000)
      const client = await connect(t, a, `?channel=feed:away&since=${first.cursor}`)
      await redis.restart()
      await readyBecomes(b, 200, 15_000)
      await b.publish('feed:away', 2)
      await until('the event', () => numbers(client).includes(2))
      await b.publish('feed:away', 3)
      await until('the next', () => numbers(client).includes(3))
      assert.deepEqual(numbers(client), [2, 3])
    })

    test('what nobody here listens to any more is answered from Redis', async (t) => {
      const { redis, a, b } = await start(t)
      const client = await connect(t, a, '?channel=feed:stale')
      await client.waitFrames(1)
      const first = await b.publish('feed:stale', 1)
      await client.waitFrames(2)
      client.socket.terminate()
      await until('it is gone', async () => (await a.get('/admin/stats')).json().connections === 0)
      // It lingers for 30 s. Those who have no time cut the link: what lingers is not subscribed to again.
      if (!LONG) await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until('it is not subscribed to', async () => (await subscribed(redis, '*feed:stale*')).length === 0, { ms: 40_000, every: 100 })
      await readyBecomes(b, 200, 15_000)
      await readyBecomes(a, 200, 15_000)
      const second = await b.publish('feed:stale', 2)
      const history = async (since) => (await a.get(`/api/v1/channels/feed:stale/history?since=${since}`)).json()
      for (const since of [first.cursor, 'begin', first.cursor]) {
        const page = await history(since)
        assert.deepEqual([page.events.at(-1)?.data, page.cursor], [2, second.cursor])
      }
      const third = await b.publish('feed:stale', 3)
      assert.deepEqual((await history(first.cursor)).events.map((e) => e.data), [2, 3])
      const fresh = await connect(t, a, '?channel=feed:stale')
      await fresh.waitFrames(1)
      assert.deepEqual([fresh.json[0].state, fresh.json[0].cursor], ['live', third.cursor])
      const back = await connect(t, a, `?channel=feed:stale&since=${first.cursor}`)
      await back.waitFrames(3)
      assert.deepEqual(numbers(back), [2, 3])
      await b.publish('feed:stale', 4)
      await back.waitFrames(4)
      await fresh.waitFrames(2)
      assert.deepEqual([numbers(back), numbers(fresh)], [[2, 3, 4], [4]])
    })
  })

  describe(`${mode}: publishing`, () => {
    test('every way answers the cursor, each event comes once, outsiders hear it bare and once', async (t) => {
      const { redis, a, b } = await start(t)
      const outsider = await redis.client(t)
      const heard = []
      for (const channel of ['fanout:ch:feed:p', 'workflow:events:bob', 'room:lounge']) {
        await outsider[says.listen](channel, (message, from) => heard.push([from, message]))
      }
      const client = await connect(t, b, '?channel=feed:p&channel=user:bob&channel=room:lounge')
      await client.waitFrames(3)
      const one = await a.publish('feed:p', { n: 1 })
      const two = await b.publish('feed:p', { n: 2 })
      const user = await a.publish('user:bob', { type: 'x' })
      const room = await a.publish('room:lounge', 'hello')
      const writer = await redis.client(t)
      const call = await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'room:lounge', '"called"'])
      await client.waitFrames(8)
      // Channels have an order of their own each, and none among them.
      const byChannel = (a, b) => a.channel.localeCompare(b.channel)
      assert.deepEqual(data(client).sort(byChannel), [
        { channel: 'feed:p', cursor: one.cursor, data: { n: 1 } },
        { channel: 'feed:p', cursor: two.cursor, data: { n: 2 } },
        { channel: 'room:lounge', cursor: room.cursor, data: 'hello' },
        { channel: 'room:lounge', cursor: call, data: 'called' },
        { channel: 'user:bob', cursor: user.cursor, data: { type: 'x' } }])
      await until('outsiders heard', () => heard.length >= 5)
      assert.deepEqual(heard, [['fanout:ch:feed:p', '{"n":1}'], ['fanout:ch:feed:p', '{"n":2}'], ['workflow:events:bob', '{"type":"x"}'],
        ['room:lounge', '{"room":"lounge","from":"","data":"\\"hello\\""}'], ['room:lounge', '{"room":"lounge","from":"","data":"\\"called\\""}']])
    })

    test(`plain ${says.publish}: delivered without a cursor, in no history`, async (t) => {
      const { redis, a } = await start(t, { count: 1 })
      const client = await connect(t, a, '?channel=user:eph')
      await client.waitFrames(1)
      const one = await a.publish('user:eph', { n: 1 })
      await redis.cli(says.publish, 'workflow:events:eph', '{"n":1}') // The same once more, but nobody's twin.
      await redis.cli(says.publish, 'workflow:events:eph', '{"n":"plain"}')
      await redis.cli(says.unheard, 'workflow:events:eph', `{"n":"${says.unheard}"}`) // Another mode's.
      const two = await a.publish('user:eph', { n: 2 })
      await client.waitFrames(5)
      assert.deepEqual(data(client), [
        { channel: 'user:eph', cursor: one.cursor, data: { n: 1 } },
        { channel: 'user:eph', data: { n: 1 } },
        { channel: 'user:eph', data: { n: 'plain' } },
        { channel: 'user:eph', cursor: two.cursor, data: { n: 2 } }])
      assert.deepEqual((await a.get('/api/v1/channels/user:eph/history?since=begin')).json().events.map((e) => e.data), [{ n: 1 }, { n: 2 }])
    })

    test('the figures tell of twins, holes, pages, scripts and plain publications', async (t) => {
      const { redis, a, b } = await start(t)
      const writer = await redis.client(t)
      const call = (text) => writer.sendCommand(['FCALL', 'fanout_publish', '0', 'feed:fig', text])
      const figures = async () => {
        const metrics = await a.metrics()
        return (name) => metrics.value(`fanout_shared_history_${name}`)
      }
      const client = await connect(t, a, '?channel=feed:fig')
      await client.waitFrames(1)
      const before = (await figures())('pages_total')
      assert.ok(before >= 1, `${before} pages`)
      await a.publish('feed:fig', 1, { idempotency_key: 'f' })
      await a.publish('feed:fig', 1, { idempotency_key: 'f' })
      await call('2')
      await redis.cli(says.publish, 'fanout:ch:feed:fig', '"plain"')
      await client.waitFrames(4)
      let of = await figures()
      const names = ['appended_total', 'duplicates_total', 'append_failed_total', 'messages_total', 'twins_total', 'ephemeral_total', 'holes_total', 'filled_total', 'lost_total']
      assert.deepEqual(names.map(of), [1, 1, 0, 2, 2, 1, 0, 0, 0])

      // A hole: numbers that nobody published. And events that came while the link was away.
      a.signal('SIGSTOP')
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      for (let n = 3; n < 10; n++) await call(String(n))
      await redis.cli('XTRIM', 'fanout:history:{feed:fig}', 'MAXLEN', '4')
      a.signal('SIGCONT')
      await until('the rest', () => numbers(client).includes(9))
      await redis.cli('HSET', 'fanout:meta:{feed:fig}', 'last', '11')
      await call('12')
      await until('what follows the hole', () => numbers(client).includes(12))
      of = await figures()
      assert.deepEqual(['holes_total', 'filled_total', 'lost_total', 'renewals_total'].map(of), [1, 5, 5, 0])
      assert.ok(of('pages_total') > before && of('page_messages_total') >= 5)
      assert.equal(of('reads'), 0)

      await readyBecomes(b, 200, 15_000)
      await redis.cli('SCRIPT', 'FLUSH')
      await a.publish('feed:fig', 'again')
      assert.equal((await figures())('script_reloads_total'), 1)
      const other = await startServer(t, { redis, args: ['--redis-mode', mode] })
      assert.deepEqual((await other.metrics()).matching(/shared_history/), [], 'only where there is such a history')
    })

    test('what was published while nobody listened anywhere is in the history', async (t) => {
      const { redis, a, b } = await start(t)
      const writer = await redis.client(t)
      for (let n = 0; n < 5; n++) await writer.sendCommand(['FCALL', 'fanout_publish', '0', 'feed:quiet', String(n)])
      await a.publish('feed:quiet', 5)
      const client = await connect(t, b, '?channel=feed:quiet&since=begin')
      await client.waitFrames(7)
      assert.deepEqual(numbers(client), upTo(6))
      const late = await startServer(t, { redis, args: [...HISTORY, '--redis-mode', mode] })
      const page = (await late.get(`/api/v1/channels/feed:quiet/history?since=${data(client)[2].cursor}`)).json()
      assert.deepEqual(page.events.map((e) => e.data), [3, 4, 5])
    })
  })
}
