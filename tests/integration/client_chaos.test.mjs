// The promise of the client library under everything at once: through a proxy that loses WebSocket messages,
// cuts connections and delays bytes, while the gateway is restarted twice and killed once, every subscriber ends
// with every event exactly once and in order, and is told of no loss: the channels are durable (sync).
//
// A short seeded run by default, a longer one in the long tier. FANOUT_CHAOS_EVENTS, _CHANNELS, _CLIENTS and _SEEDS
// set the size. A failure names the seed: FANOUT_CHAOS_SEED=S repeats it.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { LONG, SLOW, startProcess, test } from '../support/harness.mjs'

const number = (name, short, long) => Number(process.env[`FANOUT_CHAOS_${name}`] ?? (LONG ? long : short))
const EVENTS = number('EVENTS', 400, 2000)
const CLIENTS = number('CLIENTS', 10, 20)
const SEEDS = number('SEEDS', 2, 5)
const CHANNELS = number('CHANNELS', 4, 20)
const FIRST_SEED = Number(process.env.FANOUT_CHAOS_SEED ?? 1)
const MS_MAX = (2 + EVENTS * CLIENTS / 50_000) * 60_000 * SLOW
const program = fileURLToPath(new URL('../support/chaos_run.mjs', import.meta.url))

for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
  test(`seed ${seed}: ${CLIENTS} clients × ${EVENTS} events on ${CHANNELS} channels, 30 % of the messages lost, cut every 1-3 s, three restarts`, { timeout: MS_MAX }, async (t) => {
    const run = startProcess(t, `chaos ${seed}`, process.execPath, [program, seed, EVENTS, CLIENTS, CHANNELS].map(String), { env: process.env })
    const { code } = await run.gone(MS_MAX)
    assert.equal(code, 0, run.output)
    const { lost, passed, cut } = JSON.parse(run.lines.at(-1))
    assert.ok(lost > EVENTS * CLIENTS / 20 && cut > 0, run.output)
    console.log(`seed ${seed}: ${lost} of ${lost + passed} messages lost, ${cut} connections cut`)
  })
}
