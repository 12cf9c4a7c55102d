#!/usr/bin/env node
// Polls of runs, the safety net's worst case: 1,000 runs, each polled by a client of its own, open loop.
//   node bench/polls.mjs build/release/fanout [rate …]      default rates: 267 800 3000
// Prints a row for each rate: latency percentiles from when a poll was due, the share of 304s, the server's CPU.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [binary = 'build/release/fanout', ...wanted] = process.argv.slice(2)
const RATES = wanted.length ? wanted.map(Number) : [267, 800, 3000]
const RUNS = 1000, EVENTS = 20, SECONDS = 8, PORT = 20_000 + process.pid % 10_000
const data = mkdtempSync(join(tmpdir(), 'fanout-polls-'))
const server = spawn(binary, ['serve', '--listen', `127.0.0.1:${PORT}`, '--data', join(data, 'history'), '--shards', '1'], { stdio: 'ignore' })
const agent = new http.Agent({ keepAlive: true, maxSockets: RUNS })

const request = (method, path, headers = {}, body) => new Promise((done, fail) => {
  const r = http.request({ host: '127.0.0.1', port: PORT, method, path, headers, agent }, (response) => {
    let length = 0
    response.on('data', (part) => { length += part.length })
    response.on('end', () => done({ status: response.statusCode, etag: response.headers.etag, length }))
  })
  r.on('error', fail)
  r.end(body)
})
const cpuMs = () => {
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]?.toFixed(2)

async function ready() {
  for (let i = 0; i < 100; i++) {
    try { if ((await request('GET', '/ready')).status === 200) return } catch { /* not yet */ }
    await sleep(50)
  }
  throw new Error(`${binary} does not become ready`)
}

async function measure(rate, etags) {
  const latencies = []
  let open = 0, same = 0, failed = 0
  const begin = performance.now(), cpu = cpuMs()
  let due = begin
  for (let n = 0; due < begin + SECONDS * 1000; n++) {
    due = begin + n * 1000 / rate
    const wait = due - performance.now()
    if (wait > 1) await sleep(wait)
    const run = n % RUNS, started = Math.min(due, performance.now())
    // One poll in 50 finds something new.
    if (n % 50 === 0) request('POST', '/api/v1/channels/user:u', {}, `{"type":"node_progress","run_id":"run-${run}","percent":${n % 100}}`).catch(() => {})
    open++
    request('GET', `/api/v1/runs/run-${run}/events?since=0`, { 'If-None-Match': etags[run] ?? '' }).then(({ status, etag }) => {
      latencies.push(performance.now() - started)
      same += status === 304
      failed += status !== 304 && status !== 200
      etags[run] = etag
    }, () => { failed++ }).finally(() => { open-- })
  }
  while (open) await sleep(10)
  const seconds = (performance.now() - begin) / 1000, sorted = latencies.sort((a, b) => a - b)
  console.log(`${String(rate).padStart(6)} polls/s offered, ${(sorted.length / seconds).toFixed(0).padStart(5)}/s answered: p50 ${at(sorted, 0.5)} ms, p95 ${at(sorted, 0.95)}, p99 ${at(sorted, 0.99)}, max ${at(sorted, 1)}; ${(100 * same / sorted.length).toFixed(1)} % 304; ${failed} failed; server CPU ${((cpuMs() - cpu) / seconds / 10).toFixed(1)} % of a core, ${((cpuMs() - cpu) * 1000 / sorted.length).toFixed(0)} us a poll`)
}

try {
  await ready()
  for (let run = 0; run < RUNS; run++) {
    await Promise.all(Array.from({ length: EVENTS }, (_, i) => request('POST', '/api/v1/channels/user:u', {}, `{"type":"node_completed","run_id":"run-${run}","node_id":"n${i}","timestamp":1697234567,"counter":1,"result_ref":"sha256:0123456789abcdef"}`)))
  }
  console.log(`${RUNS} runs of ${EVENTS} events are there; a poll's full answer is ${(await request('GET', '/api/v1/runs/run-0/events')).length} bytes`)
  const etags = []
  for (const rate of RATES) await measure(rate, etags)
} finally {
  server.kill('SIGTERM')
  agent.destroy()
  setTimeout(() => rmSync(data, { recursive: true, force: true }), 500)
}
