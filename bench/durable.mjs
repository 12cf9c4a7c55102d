#!/usr/bin/env node
// A durable history under kill -9: publishers offer events open loop, each answered when it is stored; the gateway is
// killed in the middle; after the restart every acknowledged event has to be there.
//   node bench/durable.mjs build/release/fanout [events/s] [seconds]      default: 5000 for 6 s
// Prints what was acknowledged, the CPU it cost, how long the restart took, and what is missing (exit code 1).
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [binary = 'build/release/fanout', rate = 5000, seconds = 6] = process.argv.slice(2)
const CHANNELS = 200, PORT = 20_000 + process.pid % 10_000
const root = mkdtempSync(join(tmpdir(), 'fanout-durable-')), data = join(root, 'history')
const agent = new http.Agent({ keepAlive: true, maxSockets: 400 })
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const payload = 'x'.repeat(200)

const request = (method, path, body) => new Promise((done, fail) => {
  const r = http.request({ host: '127.0.0.1', port: PORT, method, path, agent }, (response) => {
    const parts = []
    response.on('data', (part) => parts.push(part))
    response.on('error', fail)
    response.on('end', () => done({ status: response.statusCode, text: Buffer.concat(parts).toString() }))
  })
  r.on('error', fail)
  r.end(body)
})

async function start() {
  const begin = performance.now()
  const server = spawn(binary, ['serve', '--listen', `127.0.0.1:${PORT}`, '--shards', '1', '--data', data, '--history-disk-bytes', '4GiB',
    '--namespace', 'd:durability=sync,history_messages=1000000,history_bytes=4GiB,history_age=24h'], { stdio: 'ignore' })
  for (;;) {
    try { if ((await request('GET', '/ready')).status === 200) break } catch { /* not yet */ }
    await sleep(1)
  }
  return { server, ms: performance.now() - begin }
}
const cpuMs = ({ pid }) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

let failed = 0
try {
  const { server } = await start()
  const acknowledged = [], latencies = []
  const before = cpuMs(server), begin = performance.now()
  let going = true, offered = 0
  const gone = new Promise((done) => server.on('exit', done))
  setTimeout(() => { console.log(`CPU ${((cpuMs(server) - before) * 1000 / acknowledged.length).toFixed(1)} us an event, HTTP and all`); server.kill('SIGKILL'); going = false }, seconds * 1000)
  while (going) {
    for (const due = Math.floor((performance.now() - begin) / 1000 * rate); offered < due && going; offered++) {
      const n = offered, sent = performance.now()
      request('POST', `/api/v1/channels/d:${n % CHANNELS}`, `{"n":${n},"p":"${payload}"}`).then(({ status, text }) => {
        if (status !== 200) return
        acknowledged.push([n, JSON.parse(text).results[0].cursor])
        latencies.push(performance.now() - sent)
      }, () => {})
    }
    await sleep(2)
  }
  await gone
  const took = (performance.now() - begin) / 1000
  latencies.sort((a, b) => a - b)
  const at = (share) => latencies[Math.floor((latencies.length - 1) * share)].toFixed(1)
  console.log(`${acknowledged.length} acknowledged of ${offered} offered, ${(acknowledged.length / took).toFixed(0)}/s; stored and answered in p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`)

  agent.destroy()
  const second = await start()
  console.log(`ready again after ${second.ms.toFixed(0)} ms`)
  const kept = new Map()
  for (let c = 0; c < CHANNELS; c++) {
    for (let since = 'begin', more = true; more;) {
      const page = JSON.parse((await request('GET', `/api/v1/channels/d:${c}/history?limit=1000&since=${since}`)).text)
      for (const { cursor, data } of page.events) kept.set(data.n, cursor)
      more = page.more
      since = page.cursor
    }
  }
  failed = acknowledged.filter(([n, cursor]) => kept.get(n) !== cursor).length
  console.log(`${kept.size} events are kept; of the acknowledged ones ${failed} are missing or have another cursor`)
  second.server.kill('SIGTERM')
} finally {
  agent.destroy()
  setTimeout(() => rmSync(root, { recursive: true, force: true }), 1000)
}
process.exitCode = failed ? 1 : 0
