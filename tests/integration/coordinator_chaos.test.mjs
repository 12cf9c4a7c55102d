// Two coordinators and two outside workers on one Redis, killed with -9, paused and restarted at random; every tenth
// signal is delivered twice, some run requests are: every run ends exactly once, every event is published exactly once and in order,
// counters are 0, and nothing is left behind but what retention keeps.
//
// FANOUT_FLOW_CHAOS_RUNS and _SEEDS set the size; FANOUT_FLOW_CHAOS_SEED=S repeats one.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { LONG, SLOW, startProcess, test } from '../support/harness.mjs'

const number = (name, short, long) => Number(process.env[`FANOUT_FLOW_CHAOS_${name}`] ?? (LONG ? long : short))
const RUNS = number('RUNS', 150, 2000), SEEDS = number('SEEDS', 1, 2), FIRST = number('SEED', 1, 1)
const MS_MAX = (180_000 + RUNS * 200) * SLOW
const program = fileURLToPath(new URL('../support/flow_chaos_run.mjs', import.meta.url))

for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
  test(`seed ${seed}: ${RUNS} runs of seven nodes while coordinators and workers are killed`, { timeout: MS_MAX }, async (t) => {
    const run = startProcess(t, `flow chaos ${seed}`, process.execPath, [program, seed, RUNS].map(String), { env: process.env })
    const { code } = await run.gone(MS_MAX)
    assert.equal(code, 0, run.output)
    const { coordinators, workers } = JSON.parse(run.lines.at(-1))
    assert.ok(coordinators > 0 && workers > 0, run.output)
    console.log(run.lines.at(-1))
  })
}
