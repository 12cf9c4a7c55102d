// `fanout pub --redis --history`: a terminal publishes into the history that Redis keeps for gateways. Proves
// with a real Redis and gateways:
// - events get cursors and arrive once, in every mode; the summary names the last cursor; outsiders hear them bare
// - an idempotency key is the same one as over HTTP; lines of stdin get one each
// - a Redis that lacks what is needed, or loses the script meanwhile, is a sentence and exit code 1
// - --history and --sharded without --redis are wrong usage
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { connect, fanout, startProcess, startRedis, tempDir, test, until, BIN } from '../support/harness.mjs'
import { data, gateways, upTo } from '../support/shared_history.mjs'

const at = (redis, db = '') => `redis://127.0.0.1:${redis.port}${db}`
const pub = (redis, ...words) => fanout(['pub', ...words, '--redis', at(redis), '--history'])

describe('publishing into a shared history from a terminal', () => {
  test('events have cursors and arrive once; outsiders hear them bare', async (t) => {
    const { redis, a, b } = await gateways(t)
    const outsider = await redis.client(t)
    const heard = []
    await outsider.pSubscribe(['workflow:events:*', 'room:*'], (message, channel) => {
      if (!channel.includes('canary')) heard.push([channel, message])
    })
    const client = await connect(t, a, '?channel=feed:t{1}&channel=user:alice&channel=room:lobby')
    await client.waitFrames(3)
    const one = await pub(redis, 'feed:t{1}', '{"n":1}')
    assert.equal(one.code, 0, one.stderr)
    const cursor = /published 1 message to feed:t\{1\}, cursor ([a-z0-9]+:1)\n/.exec(one.stderr)?.[1]
    assert.ok(cursor, one.stderr)
    for (const words of [['--user', 'alice', '{"n":2}'], ['--room', 'lobby', '"hi"', '--from', 'term']]) {
      const run = await pub(redis, ...words)
      assert.equal(run.code, 0, run.stderr)
    }
    await client.waitFrames(6)
    assert.deepEqual(data(client).map((m) => [m.channel, m.data, m.cursor?.split(':')[1]]),
      [['feed:t{1}', { n: 1 }, '1'], ['user:alice', { n: 2 }, '1'], ['room:lobby', 'hi', '1']])
    await until('outsiders heard', () => heard.length >= 2)
    assert.deepEqual(heard, [['workflow:events:alice', '{"n":2}'], ['room:lobby', '{"room":"lobby","from":"term","data":"\\"hi\\""}']])
    const next = await b.publish('feed:t{1}', 2)
    assert.equal(next.cursor, cursor.replace(':1', ':2'), 'a gateway goes on with its numbers')
    const page = (await b.get(`/api/v1/channels/${encodeURIComponent('feed:t{1}')}/history?since=${cursor}`)).json()
    assert.deepEqual(page.events.map((e) => e.data), [2])
  })

  test('--repeat, in order, for gateways in sharded mode by --sharded', async (t) => {
    for (const [mode, flags] of [['exact', []], ['sharded', ['--sharded']]]) {
      const { redis, a } = await gateways(t, { count: 1, args: ['--redis-mode', mode] })
      const client = await connect(t, a, '?channel=feed:many')
      await client.waitFrames(1)
      const run = await pub(redis, 'feed:many', '{"n":1}', '--repeat', '3000', ...flags)
      assert.equal(run.code, 0, run.stderr)
      assert.match(run.stderr, /published 3[, ]?000 messages .*cursor [a-z0-9]+:3000 in/)
      await client.waitFrames(3001)
      assert.deepEqual(data(client).map((m) => Number(m.cursor.split(':')[1])), upTo(3001).slice(1))
      const plain = await fanout(['pub', 'feed:many', '"plain"', '--redis', at(redis), ...flags])
      assert.equal(plain.code, 0, plain.stderr)
      await client.waitFrames(3002)
      assert.deepEqual([data(client).at(-1).data, data(client).at(-1).cursor], ['plain', undefined])
    }
  })

  test('an idempotency key is the one of HTTP publishers; of repeated payloads each has its own', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const first = await a.publish('feed:key', 1, { idempotency_key: 'k 1' })
    const again = await pub(redis, 'feed:key', '1', '--idempotency-key', 'k 1')
    assert.match(again.stderr, new RegExp(`1 already known, cursor ${first.cursor}\n`))
    const three = await pub(redis, 'feed:key', '2', '--idempotency-key', 'm', '--repeat', '3')
    assert.match(three.stderr, /cursor [a-z0-9]+:4 in/)
    const repeated = await pub(redis, 'feed:key', '2', '--idempotency-key', 'm', '--repeat', '3')
    assert.match(repeated.stderr, /3 already known/)
  })

  test('lines of stdin, from a pipe and from a file, an empty one too, each with its key', async (t) => {
    const { redis, a } = await gateways(t, { count: 1 })
    const file = join(tempDir(t, 'lines'), 'lines')
    writeFileSync(file, '"a"\n\n"b"\r\n"c"')
    for (const command of [`cat ${file} | ${BIN}`, `${BIN} <${file}`, `(cat ${file}; sleep 0.2; echo; echo '"d"') | ${BIN}`]) {
      execFileSync('sh', ['-c', command.replace(BIN, `${BIN} pub feed:lines --redis ${at(redis)} --history --idempotency-key l`)], { stdio: 'pipe' })
    }
    assert.deepEqual((await a.get('/api/v1/channels/feed:lines/history?since=begin')).json().events.map((e) => e.data), ['a', '', 'b', 'c', 'd'])
  })

  test('the database of the URL', async (t) => {
    const { redis, a } = await gateways(t, { count: 1, args: ['--redis-db', '3'] })
    const run = await fanout(['pub', 'feed:db', '1', '--redis', at(redis, '/3'), '--history'])
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual((await a.get('/api/v1/channels/feed:db/history?since=begin')).json().events.map((e) => e.data), [1])
  })
})

describe('what can be wrong', () => {
  test('a user who may not load scripts, a server without them, a full memory', async (t) => {
    const redis = await startRedis(t, { args: ['--rename-command', 'EVALSHA', ''] })
    const without = await pub(redis, 'feed:x', '1')
    assert.equal(without.code, 1)
    assert.match(without.stderr, /Redis: ERR unknown command .*EVALSHA/i)
    await redis.cli('ACL', 'SETUSER', 'term', 'on', '>p', '~*', '&*', '+@all', '-@scripting')
    const denied = await fanout(['pub', 'feed:x', '1', '--redis', `redis://term:p@127.0.0.1:${redis.port}`, '--history'])
    assert.equal(denied.code, 1)
    assert.match(denied.stderr, /Redis: NOPERM .*--history needs SCRIPT LOAD and EVALSHA\. Without it events are published/)
    const other = await startRedis(t)
    assert.equal((await pub(other, 'feed:x', '1')).code, 0)
    await other.cli('CONFIG', 'SET', 'maxmemory', '1')
    const full = await pub(other, 'feed:x', '1')
    assert.equal(full.code, 1)
    assert.match(full.stderr, /Redis: .*OOM/)
  })

  test('SCRIPT FLUSH meanwhile ends it with a sentence, and what was published is counted', async (t) => {
    const redis = await startRedis(t)
    const run = startProcess(t, 'pub', BIN, ['pub', 'feed:flush', '1', '--repeat', '100000', '--rate', '50', '--redis', at(redis), '--history'])
    await until('some are published', async () => Number(await redis.cli('XLEN', 'fanout:history:{feed:flush}')) > 2)
    await redis.cli('SCRIPT', 'FLUSH')
    await run.exited
    assert.match(run.output, /has forgotten the script/)
    assert.match(run.output, /published \d+ messages? to feed:flush, 1 failed/)
  })

  test('without --redis it is wrong usage', async () => {
    for (const flag of ['--history', '--sharded']) {
      const run = await fanout(['pub', 'feed:x', '1', flag])
      assert.equal(run.code, 2)
      assert.match(run.stderr, new RegExp(`${flag} needs --redis`))
    }
  })
})
