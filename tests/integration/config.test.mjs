// Configuration, wire.md "Environment" and the "Operations". Proves by running the program:
// - flags beat the environment, the environment beats the file, the file beats the defaults
// - `fanout config` shows each effective value with its source; --check finds mistakes
// - unknown flags and keys are errors that name the nearest; bad values name place, finding, expectation
// - ADDR beats PORT; Kubernetes' tcp:// values are understood; an unlisted FANOUT_* is only a warning
// - --help, --version, an unknown command
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from 'node:test'
import { fanout, freePort, startServer, tempDir, test } from '../support/harness.mjs'

/** The line of `fanout config` about one key. */
async function config(key, args = [], env = {}) {
  const out = await fanout(['config', ...args], { env })
  assert.equal(out.code, 0, out.stderr)
  const line = out.stdout.split('\n').find((l) => new RegExp(`^\\s*${key.replace('.', '\\.')}\\b`).test(l))
  assert.ok(line, `no line about ${key} in:\n${out.stdout}`)
  return line
}

/** A start that must fail: its status and everything it said. */
async function failing(args, env = {}) {
  const out = await fanout(args, { env })
  assert.equal(out.signal, null, 'it went on running')
  assert.notEqual(out.code, 0)
  return out.stderr + out.stdout
}

const yaml = (t, text) => {
  const file = join(tempDir(t, 'conf'), 'fanout.yaml')
  writeFileSync(file, text)
  return file
}

describe('where values come from', () => {
  test('defaults are shown as such', async () => {
    assert.match(await config('listen'), /8084.*default/) // PORT and ADDR are short for listen.
    assert.match(await config('idle_timeout'), /75.*default/)
    assert.match(await config('ws.ping_interval'), /25.*default/)
    assert.match(await config('drain_timeout'), /10.*default/)
  })

  test('flag over environment over file', async (t) => {
    const file = yaml(t, 'port: 1111\nws:\n  ping_interval: 11s\n')
    assert.match(await config('listen', ['--config', file]), /1111.*fanout\.yaml:1/)
    assert.match(await config('ws.ping_interval', ['--config', file]), /11.*fanout\.yaml:3/)
    assert.match(await config('listen', ['--config', file], { FANOUT_PORT: '2222' }), /2222.*(env|FANOUT_PORT)/)
    assert.match(await config('listen', ['--config', file, '--port', '3333'], { FANOUT_PORT: '2222' }), /3333.*flag|3333.*--port/)
  })

  test("the contract's names are sources too", async () => {
    assert.match(await config('listen', [], { PORT: '4444' }), /4444.*(env|PORT)/)
    assert.match(await config('redis.host', [], { REDIS_HOST: 'cache.local' }), /cache\.local.*(env|REDIS_HOST)/)
    assert.match(await config('redis.port', [], { REDIS_PORT: '6400' }), /6400.*(env|REDIS_PORT)/)
    assert.match(await config('redis.host', [], { REDIS_ADDR: 'h:1' }), /\bh\b.*REDIS_ADDR/)
    assert.match(await config('redis.port', [], { REDIS_ADDR: 'h:1' }), /\b1\b.*REDIS_ADDR/)
  })

  test('every key has an environment name of its own', async () => {
    assert.match(await config('ws.ping_interval', [], { FANOUT_WS_PING_INTERVAL: '7s' }), /7.*(env|FANOUT_WS_PING_INTERVAL)/)
    assert.match(await config('log.level', [], { FANOUT_LOG_LEVEL: 'debug' }), /debug.*(env|FANOUT_LOG_LEVEL)/)
    assert.match(await config('shards', [], { FANOUT_SHARDS: '3' }), /3.*(env|FANOUT_SHARDS)/)
  })

  test('the password is never shown', async () => {
    const out = await fanout(['config'], { env: { REDIS_PASSWORD: 'hunter2-secret' } })
    assert.equal(out.code, 0)
    assert.doesNotMatch(out.stdout + out.stderr, /hunter2/)
  })

  test('a tcp:// value is understood for ports and hosts, and FANOUT_PORT=tcp://… is ignored with a warning', async () => {
    assert.match(await config('redis.port', [], { REDIS_PORT: 'tcp://10.0.0.11:6379' }), /6379/)
    const out = await fanout(['config'], { env: { FANOUT_PORT: 'tcp://10.0.0.11:8084' } })
    assert.equal(out.code, 0)
    assert.match(out.stderr, /FANOUT_PORT/)
    assert.match(out.stdout, /^\s*listen\b.*8084.*default/m)
  })

  test('an unlisted FANOUT_* is a warning, not an error', async () => {
    const out = await fanout(['config'], { env: { FANOUT_SHRADS: '2' } })
    assert.equal(out.code, 0)
    assert.match(out.stderr, /FANOUT_SHRADS/)
  })

  test('durations are read with units', async () => {
    for (const [text, shown] of [['500ms', /500/], ['2s', /2/], ['1m', /1m|60/]]) {
      assert.match(await config('idle_timeout', ['--idle-timeout', text, '--ws-ping-interval', '100ms']), shown)
    }
  })
})

describe('mistakes', () => {
  test('an unknown flag is an error that names the nearest', async () => {
    assert.match(await failing(['serve', '--ws-ping-intervall', '1s']), /--ws-ping-interval\b/)
    assert.match(await failing(['config', '--shrads', '1']), /--shards\b/)
  })

  test('an unknown key in a file is an error with file, line and the nearest', async (t) => {
    const text = await failing(['serve', '--config', yaml(t, 'port: 1\nredis:\n  hots: x\n')])
    assert.match(text, /fanout\.yaml:3/)
    assert.match(text, /hots/)
    assert.match(text, /host/)
  })

  test('a key twice in a file is an error', async (t) => {
    assert.match(await failing(['config', '--config', yaml(t, 'port: 1\nport: 2\n')]), /fanout\.yaml:2/)
  })

  test('bad values name the place, the finding, the expectation', async (t) => {
    for (const [flag, value] of [['--port', 'x'], ['--port', '70000'], ['--port', '-1'], ['--shards', '0x'], ['--ws-ping-interval', 'soon'],
      ['--redis-mode', 'loud'], ['--log-level', 'shout'], ['--broker', 'carrier-pigeon'], ['--max-connections', '-5'], ['--namespace', 'room:policy=nap'], ['--namespace', 'room:sleep=1']]) {
      const text = await failing(['config', flag, value])
      assert.ok(text.includes(flag) || text.includes(flag.slice(2).replaceAll('-', '_')) || text.includes(flag.slice(2).replace('-', '.')), text)
    }
    assert.match(await failing(['config', '--config', yaml(t, 'port: many\n')]), /fanout\.yaml:1/)
    assert.match(await failing(['config'], { PORT: 'many' }), /PORT/)
  })

  test('a file that is missing, or no YAML, is one sentence', async (t) => {
    assert.match(await failing(['serve', '--config', '/nonexistent/fanout.yaml']), /\/nonexistent\/fanout\.yaml/)
    assert.match(await failing(['serve', '--config', yaml(t, 'a: [\n')]), /fanout\.yaml:\d/)
  })

  test('config --check is 0 for a good file and not 0 for a bad one', async (t) => {
    assert.equal((await fanout(['config', '--check', '--config', yaml(t, 'port: 8099\n')])).code, 0)
    await failing(['config', '--check', '--config', yaml(t, 'prot: 8099\n')])
  })

  test('overlapping Redis patterns are refused', async () => {
    assert.match(await failing(['serve', '--redis-host', '127.0.0.1', '--redis-mapping', 'room:a*=other:{1}']), /overlap/i)
  })
})

describe('the command line', () => {
  test('--help lists the commands, --version the version', async () => {
    const help = await fanout(['--help'])
    assert.equal(help.code, 0)
    for (const command of ['serve', 'demo', 'pub', 'sub', 'bench', 'config']) assert.match(help.stdout, new RegExp(`\\b${command}\\b`))
    const version = await fanout(['--version'])
    assert.equal(version.code, 0)
    const wanted = readFileSync(new URL('../../VERSION', import.meta.url), 'utf8').trim()
    assert.ok(version.stdout.includes(wanted), version.stdout)
    assert.match((await fanout(['serve', '--help'])).stdout, /--ws-ping-interval/)
  })

  test('no command, or an unknown one, is an error that says which there are', async () => {
    assert.match(await failing([]), /serve/)
    assert.match(await failing(['sevre']), /serve/)
  })

  test('--port and --shards are used', async (t) => {
    const port = await freePort()
    const server = await startServer(t, { listen: false, port, args: ['--port', port, '--shards', '3'] })
    assert.equal((await server.get('/health')).text, 'OK')
  })
})
