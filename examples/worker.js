#!/usr/bin/env node
// An outside worker: does the tasks of one type of node. `node examples/worker.js search`
//
// Needs the package redis (`npm install redis`). Any number of workers may share a type.
const os = require('node:os')
const { createClient } = require('redis')

const type = process.argv[2] ?? 'search'
const stream = `wf.tasks.${type}`, group = `${type}_workers`, name = `${os.hostname()}-${process.pid}`
const deadAfterMs = Number(process.env.DEAD_AFTER_MS ?? 60_000) // Longer than a task ever takes: then its worker is dead.
const { REDIS_HOST: host = '127.0.0.1', REDIS_PORT: port = 6379, REDIS_PASSWORD: password } = process.env
const db = createClient({ socket: { host, port: Number(port) }, password })

const signal = (token, status, more) => db.rPush('completion_signals', JSON.stringify(
  { version: '1.0', job_id: token.id, run_id: token.run_id, node_id: token.to_node, status, ...more }))

/** Yours to write. It may be called twice for one token: let token.id be the key of what must happen once. */
async function work(token, payload) {
  await signal(token, 'progress', { metadata: { percent: 50, message: 'half of it' } })
  return { found: [1, 2, 3].map((n) => `${payload.city ?? 'somewhere'}-${n}`) }
}

async function main() {
  db.on('error', (error) => { console.error(String(error)) }) // It connects again by itself.
  await db.connect()
  await db.xGroupCreate(stream, group, '0', { MKSTREAM: true }).catch(() => {}) // There is one already.
  for (;;) {
    let entries = (await db.xAutoClaim(stream, group, name, deadAfterMs, '0-0', { COUNT: 1 })).messages // What a dead worker left, ...
    if (!entries.length) entries = (await db.xReadGroup(group, name, { key: stream, id: '>' }, { COUNT: 1, BLOCK: 1000 }))?.[0].messages ?? [] // ... or what is new.
    for (const { id, message } of entries.filter(Boolean)) { // Null: it was taken back while nobody had it.
      let token, answer
      try {
        token = JSON.parse(message.token)
        answer = ['completed', { result_data: await work(token, JSON.parse(await db.get(`cas:${token.payload_ref}`))) }]
      } catch (error) {
        answer = ['failed', { metadata: { error: String(error) } }]
      }
      if (token) await signal(token, ...answer) // Else it is no token.
      await db.xAck(stream, group, id)
    }
  }
}

main().catch((error) => { console.error(error); process.exitCode = 1; db.destroy() })
