// The ways to a Redis, contracts.md section 1 and the "Redis". Proves with real servers:
// - flags, environment, redis:// and rediss:// URLs, password, ACL user, database, unix socket
// - TLS with a CA of our own; a certificate of another CA, or for another name, is refused
// - a wrong password is a sentence in the log and /ready 503, not an exit, and heals when mended
// - modes: pattern (PSUBSCRIBE), exact (SUBSCRIBE with the first, batched), sharded (SSUBSCRIBE)
// - mappings `pattern=template`; overlapping ones are refused in config.test.mjs
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe } from 'node:test'
import { connect, readyBecomes, startRedis, startServer, tempDir, test, until } from '../support/harness.mjs'

/** One event from redis-cli to one socket: the way is open. */
async function delivers(t, server, redis) {
  const client = await connect(t, server, '?username=way')
  await redis.publish('workflow:events:way', 'through')
  await client.waitFrames(1)
  assert.deepEqual(client.texts, ['through'])
}

describe('reaching Redis', () => {
  test('flags', async (t) => {
    const redis = await startRedis(t)
    await delivers(t, await startServer(t, { args: ['--redis-host', '127.0.0.1', '--redis-port', redis.port] }), redis)
  })

  test('--redis-url redis://, and REDIS_HOST by name', async (t) => {
    const redis = await startRedis(t)
    await delivers(t, await startServer(t, { args: ['--redis-url', `redis://127.0.0.1:${redis.port}`] }), redis)
    await delivers(t, await startServer(t, { env: { REDIS_HOST: 'localhost', REDIS_PORT: String(redis.port) } }), redis)
  })

  test('a password by REDIS_PASSWORD and in the URL', async (t) => {
    const redis = await startRedis(t, { args: ['--requirepass', 's3:c/ret@'] })
    redis.cliArgs.push('-a', 's3:c/ret@', '--no-auth-warning')
    await delivers(t, await startServer(t, { redis, env: { REDIS_PASSWORD: 's3:c/ret@' } }), redis)
    const server = await startServer(t, { args: ['--redis-url', `redis://:${encodeURIComponent('s3:c/ret@')}@127.0.0.1:${redis.port}`] })
    await delivers(t, server, redis)
    assert.ok(!server.output.includes('s3:c/ret@') && !server.output.includes(encodeURIComponent('s3:c/ret@')), 'the password is in no log line')
  })

  test('a wrong password is a sentence, /ready 503, no exit, and heals when it is mended', async (t) => {
    const redis = await startRedis(t, { args: ['--requirepass', 'right'] })
    redis.cliArgs.push('-a', 'right', '--no-auth-warning')
    const server = await startServer(t, { redis, env: { REDIS_PASSWORD: 'wrong' }, ready: false })
    await server.waitLine(/WRONGPASS|password|auth/i)
    assert.equal((await server.get('/ready')).status, 503)
    await redis.cli('CONFIG', 'SET', 'requirepass', 'wrong')
    redis.cliArgs[redis.cliArgs.indexOf('right')] = 'wrong'
    await server.ready(15_000)
    await delivers(t, server, redis)
  })

  test('an ACL user', async (t) => {
    const redis = await startRedis(t)
    await redis.cli('ACL', 'SETUSER', 'gateway', 'on', '>gpass', '~*', '&*', '+@all')
    await redis.cli('ACL', 'SETUSER', 'default', 'off')
    redis.cliArgs.push('--user', 'gateway', '--pass', 'gpass', '--no-auth-warning')
    await delivers(t, await startServer(t, { redis, env: { FANOUT_REDIS_USERNAME: 'gateway', REDIS_PASSWORD: 'gpass' } }), redis)
    await delivers(t, await startServer(t, { args: ['--redis-url', `redis://gateway:gpass@127.0.0.1:${redis.port}`] }), redis)
  })

  test('an ACL user that may only what the gateway needs', async (t) => {
    const redis = await startRedis(t)
    await redis.cli('ACL', 'SETUSER', 'least', 'on', '>p', '~fanout:*', '&workflow:events:*', '&room:*', '&fanout:ch:*', '&fanout:*', '-@all', '+@connection', '+@pubsub', '+info', '+config|get')
    await delivers(t, await startServer(t, { redis, env: { FANOUT_REDIS_USERNAME: 'least', REDIS_PASSWORD: 'p' } }), redis)
  })

  test('a database by number', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-db', '3'] })
    await delivers(t, server, redis)
    assert.match(await redis.cli('CLIENT', 'LIST'), /\bdb=3\b/)
  })

  test('a unix socket', async (t) => {
    const path = join(tempDir(t, 'rsock'), 'redis.sock')
    const redis = await startRedis(t, { args: ['--unixsocket', path] })
    const server = await startServer(t, { args: ['--redis-unix', path] })
    await delivers(t, server, redis)
    assert.match(await redis.cli('CLIENT', 'LIST'), new RegExp(path.replaceAll('.', '\\.')))
  })
})

describe('TLS to Redis', () => {
  /** A CA of our own and a certificate for localhost and 127.0.0.1, or for another name. */
  function certificates(dir, name, san) {
    const openssl = (...words) => execFileSync('openssl', words, { cwd: dir, stdio: 'pipe' })
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}-ca.key`, '-out', `${name}-ca.crt`, '-days', '2', '-subj', `/CN=${name} CA`)
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`)
    execFileSync('bash', ['-c', `openssl x509 -req -in ${name}.csr -CA ${name}-ca.crt -CAkey ${name}-ca.key -CAcreateserial -days 2 -out ${name}.crt -extfile <(echo subjectAltName=${san})`], { cwd: dir, stdio: 'pipe' })
    return { ca: join(dir, `${name}-ca.crt`), cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
  }
  async function tlsRedis(t, files) {
    const redis = await startRedis(t, {
      args: ['--tls-port', '0', '--tls-cert-file', files.cert, '--tls-key-file', files.key, '--tls-ca-cert-file', files.ca, '--tls-auth-clients', 'no']
    })
    const { freePort } = await import('../support/harness.mjs')
    redis.tlsPort = await freePort()
    await redis.cli('CONFIG', 'SET', 'tls-port', redis.tlsPort)
    return redis
  }

  test('rediss:// with a CA of our own', async (t) => {
    const files = certificates(tempDir(t, 'tls'), 'good', 'DNS:localhost,IP:127.0.0.1')
    const redis = await tlsRedis(t, files)
    for (const host of ['localhost', '127.0.0.1']) {
      await delivers(t, await startServer(t, { args: ['--redis-url', `rediss://${host}:${redis.tlsPort}`, '--redis-tls-ca', files.ca] }), redis)
    }
  })

  test('FANOUT_REDIS_TLS=true does the same for host and port', async (t) => {
    const files = certificates(tempDir(t, 'tls'), 'good', 'DNS:localhost,IP:127.0.0.1')
    const redis = await tlsRedis(t, files)
    await delivers(t, await startServer(t, { env: { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.tlsPort), FANOUT_REDIS_TLS: 'true', FANOUT_REDIS_TLS_CA: files.ca } }), redis)
  })

  test("another CA's certificate, and one for another name, are refused", async (t) => {
    const dir = tempDir(t, 'tls')
    const [good, other] = [certificates(dir, 'good', 'DNS:localhost'), certificates(dir, 'other', 'DNS:elsewhere.example')]
    for (const [files, ca] of [[good, other.ca], [other, other.ca]]) {
      const redis = await tlsRedis(t, files)
      const server = await startServer(t, { args: ['--redis-url', `rediss://localhost:${redis.tlsPort}`, '--redis-tls-ca', ca], ready: false })
      await server.waitLine(/certificate|verif/i)
      assert.equal((await server.get('/ready')).status, 503)
    }
  })

  test('large and many messages pass through TLS whole', async (t) => {
    const files = certificates(tempDir(t, 'tls'), 'good', 'IP:127.0.0.1')
    const redis = await tlsRedis(t, files)
    const server = await startServer(t, { args: ['--redis-url', `rediss://127.0.0.1:${redis.tlsPort}`, '--redis-tls-ca', files.ca] })
    const client = await connect(t, server, '?username=tls')
    const pub = await redis.client(t)
    const sent = Array.from({ length: 200 }, (_, i) => `${i} ${'x'.repeat((i * 997) % 70_000)}`)
    for (let i = 0; i < sent.length; i += 10) { // No faster than the socket takes it: nothing may be dropped.
      await Promise.all(sent.slice(i, i + 10).map((text) => pub.publish('workflow:events:tls', text)))
      await client.waitFrames(i + 10, 20_000)
    }
    assert.ok(client.texts.every((text, i) => text === sent[i]))
  })
})

describe('modes', () => {
  test('pattern, the default, subscribes by PSUBSCRIBE', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis })
    await delivers(t, server, redis)
    assert.ok(Number(await redis.cli('PUBSUB', 'NUMPAT')) >= 2)
  })

  test('exact: SUBSCRIBE with the first local subscriber, none before, all delivered', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mode', 'exact'] })
    const subscribed = async () => (await redis.cli('PUBSUB', 'CHANNELS', 'workflow:events:*')).split('\n').filter((c) => c.includes(':ex-'))
    assert.deepEqual(await subscribed(), [])
    const client = await connect(t, server, '?username=ex-1')
    await until('Redis has the subscription', async () => (await subscribed()).includes('workflow:events:ex-1'))
    await connect(t, server, '?username=ex-1')
    assert.deepEqual(await subscribed(), ['workflow:events:ex-1'])
    await redis.publish('workflow:events:ex-1', 'mine')
    await redis.publish('workflow:events:ex-2', 'not mine')
    await redis.publish('workflow:events:ex-1', 'end')
    await client.waitFrames(2)
    assert.deepEqual(client.texts, ['mine', 'end'])
    const room = await connect(t, server, '?room=ex-r&client_id=c')
    await until('the room delivers', async () => { await room.send('.'); return room.frames.length > 0 }, { every: 100 })
  })

  test('exact: a state notice comes only once the subscription is confirmed, so nothing after it is lost', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mode', 'exact'] })
    const pub = await redis.client(t)
    for (let i = 0; i < 30; i++) {
      const client = await connect(t, server, `?channel=user:conf-${i}`)
      await client.waitFrames(1)
      await pub.publish(`workflow:events:conf-${i}`, String(i))
      await client.waitFrames(2)
      assert.equal(client.json[1].data, i)
    }
  })

  test('exact: 2000 users at once are subscribed, and each gets its own', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mode', 'exact'] })
    const pub = await redis.client(t)
    const clients = []
    for (let i = 0; i < 1000; i += 50) {
      clients.push(...await Promise.all(Array.from({ length: 50 }, (_, k) => connect(t, server, `?channel=user:b-${i + k}&channel=user:c-${i + k}`))))
    }
    for (const client of clients) await client.waitFrames(2, 15_000)
    await Promise.all(clients.flatMap((_, i) => [pub.publish(`workflow:events:b-${i}`, `"b${i}"`), pub.publish(`workflow:events:c-${i}`, `"c${i}"`)]))
    for (const [i, client] of clients.entries()) {
      await client.waitFrames(4, 15_000)
      assert.deepEqual(client.json.slice(2).map((m) => m.data).sort(), [`b${i}`, `c${i}`])
    }
  })

  test('sharded: SPUBLISH arrives', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mode', 'sharded'] })
    const client = await connect(t, server, '?channel=user:sh')
    await client.waitFrames(1)
    assert.match(await redis.cli('PUBSUB', 'SHARDCHANNELS', 'workflow:events:*'), /workflow:events:sh/)
    await redis.cli('SPUBLISH', 'workflow:events:sh', '"sharded"')
    await client.waitFrames(2)
    assert.equal(client.json[1].data, 'sharded')
    await server.publish('user:sh', 'by http')
    await client.waitFrames(3)
    assert.equal(client.json[2].data, 'by http')
  })
})

describe('mappings', () => {
  test('a pattern feeds a channel template', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mapping', 'orders:*=orders:{1}'] })
    const client = await connect(t, server, '?channel=orders:42')
    await client.waitFrames(1)
    await redis.publish('orders:41', '{"n":0}')
    await redis.publish('orders:42', '{"n":1}')
    await client.waitFrames(2)
    assert.deepEqual(client.json[1].data, { n: 1 })
    await delivers(t, server, redis)
  })

  test('several, and another name on our side', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mapping', 'app.log.*=log:{1}', '--redis-mapping', 'prices/*=tick:{1}'] })
    const client = await connect(t, server, '?channel=log:web&channel=tick:EUR')
    await client.waitFrames(2)
    await redis.publish('app.log.web', '1')
    await redis.publish('prices/EUR', '2')
    await client.waitFrames(4)
    assert.deepEqual(client.json.slice(2).map((m) => [m.channel, m.data]).sort(), [['log:web', 1], ['tick:EUR', 2]])
  })

  test('a message that maps to a name no channel may have is dropped, not fatal', async (t) => {
    const redis = await startRedis(t)
    const server = await startServer(t, { redis, args: ['--redis-mapping', 'orders:*=orders:{1}'] })
    const pub = await redis.client(t)
    for (const tail of ['', 'x'.repeat(256), '\x01', Buffer.from([0xff])]) await pub.publish(Buffer.concat([Buffer.from('orders:'), Buffer.from(tail)]), 'x')
    await delivers(t, server, redis)
  })
})
