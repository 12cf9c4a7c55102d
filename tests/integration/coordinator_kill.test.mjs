// The coordinator on its embedded store, killed with -9 and restarted on the same directory at random, in `fanout demo` and
// beside a gateway that is killed likewise, while clients start runs of seven nodes, with a delay, a retry and some approvals. Proves:
// - every run that was answered 201 is there and ends once; its events are told once, in order, and leave its counter at 0
// - the history of its user has the same list, also where that is stored after it is delivered (`durability: async`, the default)
// - with `durability: sync` a socket that comes back with cursors saw each event once, in order, and was never reset
//
// FANOUT_FLOW_KILL_RUNS sets the size; FANOUT_FLOW_KILL_SEED=S repeats one.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { LONG, SLOW, startProcess, test } from '../support/harness.mjs'

const RUNS = Number(process.env.FANOUT_FLOW_KILL_RUNS ?? (LONG ? 2000 : 300)), SEED = Number(process.env.FANOUT_FLOW_KILL_SEED ?? 1)
const MS_MAX = (90_000 + RUNS * 100) * SLOW
const program = fileURLToPath(new URL('../support/flow_kill_run.mjs', import.meta.url))

for (const [mode, durability] of [['demo', 'async'], ['demo', 'sync'], ['beside', 'async'], ...(LONG ? [['beside', 'sync']] : [])]) {
  test(`${mode}, ${durability}: ${RUNS} runs under kill -9`, { timeout: MS_MAX }, async (t) => {
    const run = startProcess(t, `flow kill ${mode}`, process.execPath, [program, mode, durability, SEED, RUNS].map(String), { env: process.env })
    const { code } = await run.gone(MS_MAX)
    assert.equal(code, 0, run.output)
    assert.ok(JSON.parse(run.lines.at(-1)).kills > 0, run.output)
    console.log(run.lines.at(-1))
  })
}
