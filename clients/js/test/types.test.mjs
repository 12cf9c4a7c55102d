// The published types, read by the compiler as an application's: test/consumer.ts is right, its one mistake is found.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('..', import.meta.url))

test('an application compiles against dist', async () => {
  const { code, out } = await new Promise((done) => execFile(`${HERE}node_modules/.bin/tsc`, ['-p', 'test'], { cwd: HERE },
    (error, stdout, stderr) => done({ code: error?.code ?? 0, out: stdout + stderr })))
  assert.equal(code, 0, out)
})
