// Everything goes wrong, again and again, in an order that a seed decides. Two gateways of two shards share a
// Redis; gateways and Redis are killed with -9, stopped and started again, their connections are cut. Proves:
// - a subscriber hears events in order and none twice, over any number of reconnects with its cursor
// - a hole in the offsets was told by a gap notice, another epoch by `reset`
// - between two such notices every event that a publisher was told is taken has come
// - afterwards everything recovers by itself: all gateways are ready, deliver, and their books add up
// A failure names the seed: FANOUT_CHAOS_SEED=S repeats the order of the blows, though not the timing.
import assert from 'node:assert/strict'
import { connect, freePort, LONG, readyBecomes, sleep, SLOW, startRedis, startServer, test, until } from '../support/harness.mjs'

const SEED = Number(process.env.FANOUT_CHAOS_SEED ?? (LONG ? Date.now() % 1_000_000 : 1))
const BLOWS = LONG ? 120 : 12
const FOLLOWERS = 6 // Of each gateway.
const CHANNEL = 'chaos:events'

/** Mulberry32: the same numbers for the same seed. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

/** A subscriber that comes back with its cursor, and checks all it hears. */
class Follower {
  cursor = null
  segments = [[]] // Events between two notices that something may be missing.
  told = 0
  problem = null
  #last = new Map() // publisher -> its highest number so far

  constructor(t, gateway, name) { Object.assign(this, { t, gateway, name }) }

  async run() {
    while (!this.ended && !this.problem) {
      const since = this.cursor ? `&since=${encodeURIComponent(this.cursor)}` : ''
      let client
      try {
        client = await connect(this.t, this.gateway.server, `?channel=${CHANNEL}${since}`)
      } catch {
        await sleep(50)
        continue
      }
      this.client = client
      for (let read = 0; !this.ended && !this.problem && !(client.closed && read === client.frames.length);) {
        if (read === client.frames.length) await sleep(10)
        else this.take(JSON.parse(client.frames[read++].data))
      }
      client.socket.terminate()
    }
  }

  fail(why, message) { this.problem ??= `${this.name}: ${why}: ${JSON.stringify(message)} after cursor ${this.cursor}` }

  breaks() {
    this.told++
    if (this.segments.at(-1).length) this.segments.push([])
  }

  take(message) {
    if (message.state) {
      if (message.state === 'reset') this.breaks()
      else if (this.cursor && message.cursor && message.cursor.split(':')[0] !== this.cursor.split(':')[0]) {
        this.fail(`a new epoch called '${message.state}'`, message)
      }
      if (message.state === 'reset' || !this.cursor) this.cursor = message.cursor
    } else if (message.gap) {
      const [epoch, offset] = this.cursor.split(':')
      if (message.gap.from !== Number(offset) + 1) this.fail('a gap that does not begin at the last event', message)
      this.cursor = `${epoch}:${message.gap.to}`
      this.breaks()
    } else if ('data' in message) this.event(message)
  }

  event(message) {
    const [epoch, offset] = message.cursor.split(':')
    const [before, at] = this.cursor.split(':')
    if (epoch !== before) this.fail('a new epoch without a reset', message)
    else if (Number(offset) !== Number(at) + 1) this.fail('a hole or a double that nobody told of', message)
    const { by, n } = message.data
    if (n <= (this.#last.get(by) ?? -1)) this.fail(`not after ${this.#last.get(by)} of the same publisher`, message)
    this.#last.set(by, n)
    this.cursor = message.cursor
    this.segments.at(-1).push(message.data)
  }

  /** What was taken by a gateway and falls inside a stretch without a notice has come. */
  missing(taken) {
    for (const segment of this.segments) {
      const numbers = new Map()
      for (const { by, n } of segment) numbers.set(by, (numbers.get(by) ?? new Set()).add(n))
      for (const [by, have] of numbers) {
        const last = Math.max(...have)
        for (let n = Math.min(...have); n < last; n++) if (taken.has(`${by}-${n}`) && !have.has(n)) return `${by}-${n}`
      }
    }
  }
}

/** Posts numbered events; none is sent twice, so an answer that is lost leaves it open whether it came. */
async function publisher(gateway, by, taken, state) {
  for (let n = 0; !state.ended; n++) {
    try {
      await gateway.server.publish(CHANNEL, { by, n })
      taken.add(`${by}-${n}`)
    } catch {
      await sleep(20)
    }
    await sleep(2)
  }
}

const start = async (t, gateway, redis) => {
  gateway.server = await startServer(t, { redis, port: gateway.port, args: ['--shards', '2', '--namespace', 'chaos:history_messages=5000,history_bytes=8MiB'], ready: false })
}

function blows(t, redis, gateways, followers, random) {
  const one = (list) => list[Math.floor(random() * list.length)]
  return {
    'kill -9 of a gateway': async () => {
      const gateway = one(gateways)
      gateway.server.expectCode = null
      gateway.server.signal('SIGKILL')
      await gateway.server.gone()
      await sleep(random() * 500)
      await start(t, gateway, redis)
    },
    'SIGSTOP of a gateway': async () => {
      const { server } = one(gateways)
      server.signal('SIGSTOP')
      await sleep(random() * 2000)
      server.signal('SIGCONT')
    },
    'kill -9 of Redis': async () => {
      await redis.kill9()
      await sleep(random() * 1500)
      await redis.restart()
    },
    'SIGSTOP of Redis': async () => {
      redis.pause()
      await sleep(random() * (LONG && random() < 0.2 ? 20_000 : 1500))
      redis.resume()
    },
    'CLIENT KILL of the subscriptions': () => redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub'),
    'cut clients': () => { for (const f of followers) if (random() < 0.5) f.client?.socket.terminate() }
  }
}

async function booksAddUp(gateway) {
  const books = (await gateway.server.metrics()).samples.filter((s) => /^fanout_(deliveries_(accepted|delivered|dropped)_total|(queued|pending)_messages)$/.test(s.name))
  const sum = (word) => books.filter((s) => s.name.includes(word)).reduce((all, s) => all + s.value, 0)
  assert.ok(sum('accepted') > 0)
  assert.equal(sum('accepted'), sum('delivered') + sum('dropped') + sum('queued') + sum('pending'))
}

test(`seed ${SEED}: ${BLOWS} blows`, { timeout: (BLOWS * 8_000 + 120_000) * SLOW }, async (t) => {
  const random = seeded(SEED)
  const redis = await startRedis(t)
  const gateways = [{ port: await freePort() }, { port: await freePort() }]
  for (const gateway of gateways) await start(t, gateway, redis)
  const followers = gateways.flatMap((gateway, g) => Array.from({ length: FOLLOWERS }, (_, i) => new Follower(t, gateway, `follower ${g}/${i}`)))
  const taken = new Set(), state = {}
  const following = followers.map((f) => f.run())
  const publishing = gateways.map((gateway, g) => publisher(gateway, `p${g}`, taken, state))
  const problem = () => followers.find((f) => f.problem)?.problem

  const kinds = Object.entries(blows(t, redis, gateways, followers, random))
  const told = {}
  for (let i = 0; i < BLOWS && !problem(); i++) {
    const [name, strike] = kinds[i < kinds.length ? i : Math.floor(random() * kinds.length)]
    await strike()
    told[name] = (told[name] ?? 0) + 1
    // Now and then the next blow comes before the last one is over.
    if (random() < 0.7) {
      for (const gateway of gateways) await readyBecomes(gateway.server, 200, 20_000 * SLOW)
      const before = taken.size
      await until('publishing works again', () => taken.size > before + 20, { ms: 20_000 * SLOW })
    }
  }

  for (const gateway of gateways) await readyBecomes(gateway.server, 200, 20_000 * SLOW)
  const heard = (f, data) => f.segments.some((s) => s.some((x) => x.by === data.by && x.n === data.n))
  await until('all that is published now comes to everybody', async () => {
    const data = { by: 'last', n: Date.now() }
    await gateways[0].server.publish(CHANNEL, data).catch(() => {})
    return until('it has come', () => problem() || followers.every((f) => heard(f, data)), { ms: 1000 * SLOW }).catch(() => false)
  }, { ms: 20_000 * SLOW })
  state.ended = true
  await Promise.all(publishing)
  await sleep(300)
  for (const f of followers) f.ended = true
  await Promise.all(following)

  assert.equal(problem(), undefined)
  for (const f of followers) assert.equal(f.missing(taken), undefined, `${f.name} misses an event that was taken, and was told of nothing`)
  assert.ok(taken.size > BLOWS * 10, `only ${taken.size} events were taken`)
  assert.ok(followers.every((f) => f.told > 0), 'blows fell and a subscriber was told of none: the test hit nothing')
  for (const gateway of gateways) await booksAddUp(gateway)
  console.log(`${taken.size} events taken; ${JSON.stringify(told)}; ${followers.map((f) => f.told).join(' ')} notices`)
})
