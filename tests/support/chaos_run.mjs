// One run of the client library's chaos, as a program: node chaos_run.mjs SEED EVENTS CLIENTS CHANNELS
//
// tests/integration/client_chaos says what it proves. Apart from node:test, whose bookkeeping of every promise takes as
// long as half a million messages do. Prints what the proxy did as JSON; fails with the reason on stderr.
import assert from 'node:assert/strict'
import http from 'node:http'
import { fanoutClient, follow } from './client.mjs'
import { seeded, startFaultProxy } from './fault_proxy.mjs'
import { freePort, scoped, sleep, SLOW, startServer, tempDir, until } from './harness.mjs'

const [SEED, EVENTS, CLIENTS, CHANNELS] = process.argv.slice(2).map(Number)
const channelName = (c) => `chaos:${c}`
const WAIT_END_MS = 60_000 * SLOW + (2 + EVENTS * CLIENTS / 50_000) * 20_000

const LIFE = `chaos:durability=sync,history_messages=${EVENTS + 1000},history_bytes=256MiB,history_age=24h`

/** Ends the gateway, kindly or not, and starts it again on the same data. */
async function again(t, server, kind, options) {
  if (kind === 'SIGKILL') server.expectCode = null
  server.signal(kind)
  await server.gone()
  return startServer(t, options)
}

/** On one connection: half of the time went into opening one for each. */
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
async function publish(server, channel, data, key) {
  const reply = await server.post('/api/v1/publish', { channel, data, idempotency_key: key }, { agent })
  assert.equal(reply.status, 200, reply.text)
  return true
}

async function run(t, seed) {
  t.after(() => agent.destroy())
  const random = seeded(seed)
  const options = { port: await freePort(), args: ['--data', `${tempDir(t, 'chaos')}/history`, '--namespace', LIFE, '--drain-timeout', '1s'] }
  let server = await startServer(t, options)
  const proxy = await startFaultProxy(t, server, { seed, dropMessages: 0.3, cutAfterMs: [1000, 3000], delayMs: [0, 2] })
  const follows = Array.from({ length: CLIENTS }, (_, i) => {
    const client = fanoutClient(t, proxy, { seed: seed * 1000 + i, backoff: { minMs: 50, maxMs: 1000 }, timing: { answerTimeoutMs: 1000 } })
    return Array.from({ length: CHANNELS }, (_, c) => follow(client, channelName(c), { since: 'begin' }))
  })

  const ends = new Map(['SIGTERM', 'SIGKILL', 'SIGTERM'].map((kind, i) => [Math.floor(EVENTS * (i + 1) / 4), kind]))
  const counts = new Array(CHANNELS).fill(0)
  for (let n = 0; n < EVENTS; n++) {
    if (ends.has(n)) server = await again(t, server, ends.get(n), options)
    const c = Math.floor(random() * CHANNELS)
    const event = counts[c]++
    // With its key a publication that was in doubt when the gateway died counts once.
    await until(`event ${n} is taken`, () => publish(server, channelName(c), event, `${seed}-${n}`))
    if (random() < 0.05) await sleep(random() * 100)
  }
  // To the end: nobody is given a better network to finish.
  const short = (one, c) => one.items.length < counts[c]
  await until('everybody has everything', () => follows.every((all) => !all.some(short)), { ms: WAIT_END_MS, every: 50 })
    .catch((error) => { error.message += `; short: ${JSON.stringify(follows.flatMap((all, i) => all.flatMap((one, c) => short(one, c) ? [[i, c, one.items.length, counts[c]]] : [])).slice(0, 10))}`; throw error })
  for (const [i, all] of follows.entries()) {
    for (const [c, one] of all.entries()) {
      assert.deepEqual(one.resets, [], `client ${i}, channel ${c} was told of a loss`)
      assert.deepEqual(one.data, Array.from({ length: counts[c] }, (_, n) => n), `client ${i}, channel ${c}`)
    }
  }
  assert.ok(proxy.stats.lost > EVENTS * CLIENTS / 20, `only ${proxy.stats.lost} messages were lost`)
  return proxy.stats
}

try {
  console.log(JSON.stringify(await scoped((t) => run(t, SEED))))
} catch (error) {
  console.error(error.stack)
  process.exitCode = 1
}
