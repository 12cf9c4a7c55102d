#!/usr/bin/env node
// The coordinator: nodes completed per second, and how long from a worker's signal to the event on a user's socket.
//   node bench/workflows.mjs build/release/fanout [runs] [iterations]      default: 40 runs of 100 iterations of 7 nodes
// On the embedded store in memory, on disk, and on Redis (a redis-server of its own). Prints a line each, with the CPU a node costs.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(new URL('../tests/package.json', import.meta.url))
const { createClient } = require('redis'), WebSocket = require('ws')
const [binary = 'build/release/fanout', runs = 40, iterations = 100] = process.argv.slice(2)
const RUNS = Number(runs), ITERATIONS = Number(iterations)
const PORT = 20_000 + process.pid % 10_000
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

const request = (port, method, path, body, headers = { 'X-User-ID': 'bench' }) => new Promise((done, fail) => {
  const r = http.request({ host: '127.0.0.1', port, method, path, agent, headers }, (response) => {
    const parts = []
    response.on('data', (part) => parts.push(part))
    response.on('error', fail)
    response.on('end', () => done({ status: response.statusCode, text: Buffer.concat(parts).toString() }))
  })
  r.on('error', fail)
  r.end(body && JSON.stringify(body))
})
const ready = async (port) => {
  for (;; await sleep(10)) {
    try { if ((await request(port, 'GET', '/ready')).status === 200) return } catch { /* not yet */ }
  }
}
const cpuMs = ({ pid }) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}
const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]

/** a, five beside each other, a join; and all of that `count` times. */
function sevenNodes(count) {
  const five = [1, 2, 3, 4, 5].map((n) => `b${n}`)
  return {
    nodes: ['a', ...five, 'z'].map((id) => ({ id, type: 'transform', config: { output: { id } } })),
    edges: [...five.flatMap((id) => [{ from: 'a', to: id }, { from: id, to: 'z' }]),
      ...(count > 1 ? [{ from: 'z', to: 'a', max_iterations: count - 1 }] : [])],
  }
}

async function put(port, tag, workflow) {
  const reply = await request(port, 'PUT', `/api/v1/workflows/${tag}`, workflow)
  if (reply.status > 201) throw new Error(reply.text)
}

async function completed(port) {
  const text = (await request(port, 'GET', '/metrics')).text
  return Number(/^fanout_flow_runs_ended_total\{status="completed"\} (\d+)/m.exec(text)?.[1] ?? 0)
}

/** RUNS runs at once, each ITERATIONS × 7 nodes: next to no HTTP. */
async function throughput(name, port, processes) {
  await put(port, 'loops', sevenNodes(ITERATIONS))
  const before = await completed(port), cpu = processes.map(cpuMs), begin = performance.now()
  await Promise.all(Array.from({ length: RUNS }, () => request(port, 'POST', '/api/v1/runs', { tag: 'loops' })))
  while (await completed(port) < before + RUNS) await sleep(20)
  const seconds = (performance.now() - begin) / 1000, nodes = RUNS * ITERATIONS * 7
  const used = processes.map((one, i) => ((cpuMs(one) - cpu[i]) * 1000 / nodes).toFixed(1))
  console.log(`${name}: ${Math.round(nodes / seconds)} nodes/s (${nodes} nodes); CPU a node, us: ${used.join(' + ')}`)
}

/** Single short runs, each begun by a POST, 50 at a time. */
async function short(name, port, processes) {
  const COUNT = 2000
  await put(port, 'once', sevenNodes(1))
  const before = await completed(port), cpu = processes.map(cpuMs), begin = performance.now()
  let next = 0
  await Promise.all(Array.from({ length: 50 }, async () => {
    while (next++ < COUNT) await request(port, 'POST', '/api/v1/runs', { tag: 'once' })
  }))
  while (await completed(port) < before + COUNT) await sleep(5)
  const seconds = (performance.now() - begin) / 1000
  const used = processes.map((one, i) => ((cpuMs(one) - cpu[i]) * 1000 / COUNT).toFixed(0))
  console.log(`${name}, short runs: ${Math.round(COUNT / seconds)} runs/s, ${Math.round(7 * COUNT / seconds)} nodes/s; CPU a run, us: ${used.join(' + ')}`)
}

/** Times from act(run_id) to the node_completed of that run on the socket, at 200 a second. */
async function latency(name, port, gateway, tag, waiting, act) {
  const COUNT = 1000
  const socket = new WebSocket(`ws://127.0.0.1:${gateway}/ws?username=bench`)
  await new Promise((done, fail) => { socket.once('open', done); socket.once('error', fail) })
  const sent = new Map(), took = [], asked = []
  socket.on('message', (data) => {
    const event = JSON.parse(data)
    if (event.type === 'node_completed' && sent.has(event.run_id)) took.push(performance.now() - sent.get(event.run_id))
    if (event.type === waiting) asked.push(event.run_id)
  })
  for (let n = 0; n < COUNT; n++) await request(port, 'POST', '/api/v1/runs', { tag })
  while (asked.length < COUNT) await sleep(5)
  const begin = performance.now()
  for (let n = 0; n < COUNT; n++) {
    while (performance.now() < begin + n * 5) await sleep(1)
    sent.set(asked[n], performance.now())
    act(asked[n])
  }
  while (took.length < COUNT) await sleep(5)
  socket.close()
  took.sort((a, b) => a - b)
  console.log(`${name}: p50 ${percentile(took, 0.5).toFixed(2)} ms, p99 ${percentile(took, 0.99).toFixed(2)} ms (${COUNT} at 200/s)`)
}

async function approvals(name, port, gateway) {
  await put(port, 'ask', { nodes: [{ id: 'ok', type: 'hitl', config: { message: 'go?' } }], edges: [] })
  await latency(`${name}, approval to event`, port, gateway, 'ask', 'approval_requested',
    (run_id) => request(port, 'POST', '/api/approval', { run_id, node_id: 'ok', approved: true }))
}

async function signals(name, port, gateway, redis) {
  await put(port, 'outside', { nodes: [{ id: 'f', type: 'function' }], edges: [] })
  await latency(`${name}, signal to event`, port, gateway, 'outside', 'node_started', (run_id) =>
    redis.rPush('completion_signals', JSON.stringify({ version: '1.0', job_id: `${run_id}:f:1:1`, run_id, node_id: 'f', status: 'completed', result_data: { n: 1 } })))
}

const children = []
const start = (command, args, env = {}) => {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { PATH: process.env.PATH, HOME: process.env.HOME, FANOUT_LOG_LEVEL: 'warn', ...env } })
  children.push(child)
  return child
}
const stop = async (child) => {
  const gone = new Promise((done) => child.once('exit', done))
  child.kill('SIGTERM')
  await gone
}

const root = mkdtempSync(join(tmpdir(), 'fanout-workflows-'))
try {
  for (const [name, data] of [['embedded, memory', 'none'], ['embedded, disk', join(root, 'data')]]) {
    const server = start(binary, ['demo', '--listen', `127.0.0.1:${PORT}`, '--shards', '1', '--data', data])
    await ready(PORT)
    await throughput(name, PORT, [server])
    await short(name, PORT, [server])
    await approvals(name, PORT, PORT)
    await stop(server)
  }
  const redisServer = start('redis-server', ['--port', String(PORT + 1), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', root, '--loglevel', 'warning'])
  const redis = createClient({ socket: { host: '127.0.0.1', port: PORT + 1 } })
  redis.on('error', () => {})
  await redis.connect()
  const env = { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(PORT + 1) }
  const gateway = start(binary, ['serve', '--listen', `127.0.0.1:${PORT + 2}`, '--shards', '1', '--data', 'none'], env)
  const coordinator = start(binary, ['coordinator', '--listen', `127.0.0.1:${PORT}`], env)
  await ready(PORT + 2)
  await ready(PORT)
  await throughput('Redis (coordinator + redis-server)', PORT, [coordinator, redisServer])
  await short('Redis (coordinator + redis-server)', PORT, [coordinator, redisServer])
  await approvals('Redis', PORT, PORT + 2)
  await signals('Redis', PORT, PORT + 2, redis)
  redis.destroy()
} finally {
  for (const child of children) child.kill('SIGKILL')
  rmSync(root, { recursive: true, force: true })
}
process.exit(0)
