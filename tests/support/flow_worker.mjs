// An outside worker for tests, as a program: node flow_worker.mjs REDIS_PORT TYPE NAME
//
// Takes what dead ones left (XAUTOCLAIM), stores results now by reference, now in the signal, tells progress of every third task,
// and sends every tenth signal twice. May be killed at any moment; it keeps nothing.
import { createHash } from 'node:crypto'
import { createClient } from 'redis'

const [port, type, name] = process.argv.slice(2)
const stream = `wf.tasks.${type}`, group = `${type}_workers`
const redis = createClient({ socket: { host: '127.0.0.1', port: Number(port), reconnectStrategy: () => 50 } })
redis.on('error', () => {})
await redis.connect()

let signals = 0
async function signal(value) {
  const text = JSON.stringify(value)
  await redis.rPush('completion_signals', text)
  if (++signals % 10 === 0) await redis.rPush('completion_signals', text)
}

let tasks = 0
async function work({ id, message }) {
  const token = JSON.parse(message.token)
  const about = { version: '1.0', job_id: token.id, run_id: token.run_id, node_id: token.to_node }
  const result = JSON.stringify({ node: token.to_node, visit: token.metadata.visit })
  if (++tasks % 3 === 0) await signal({ ...about, status: 'progress', metadata: { percent: 50, message: 'half' } })
  if (tasks % 2) {
    const ref = `sha256:${createHash('sha256').update(result).digest('hex')}`
    await redis.set(`cas:${ref}`, result, { EX: 3600 })
    await signal({ ...about, status: 'completed', result_ref: ref, metadata: {} })
  } else {
    await signal({ ...about, status: 'completed', result_data: JSON.parse(result), metadata: {} })
  }
  await redis.xAck(stream, group, id)
}

for (;;) {
  try {
    const claimed = await redis.xAutoClaim(stream, group, name, 1500, '0', { COUNT: 16 })
    for (const entry of claimed.messages) if (entry) await work(entry)
    const read = await redis.xReadGroup(group, name, { key: stream, id: '>' }, { COUNT: 16, BLOCK: 200 })
    for (const entry of read?.[0]?.messages ?? []) await work(entry)
  } catch (error) { // Redis away, or the group not there yet.
    if (process.env.FLOW_WORKER_VERBOSE) console.error(error)
    await new Promise((done) => setTimeout(done, 100))
  }
}
