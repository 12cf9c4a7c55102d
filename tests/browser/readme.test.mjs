// The lines of the README's tour, pasted into the console of Chromium. Proves:
// - in the console of the gateway's own /health, and of the demo's page at the address it prints, they work
// - from a page of another origin the event stream does not, as the README says
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe } from 'node:test'
import { openPage } from '../support/browser.mjs'
import { startServer, test, until } from '../support/harness.mjs'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const [socket, room, stream] = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code)

/** Pastes a line into the page's console; what the page logs is kept. */
async function openConsole(t, server, url) {
  const page = await openPage(t, url)
  const said = []
  page.on('console', (message) => said.push(message.text()))
  return { page, said, paste: (code) => page.evaluate(`${code.replaceAll('127.0.0.1:8084', `127.0.0.1:${server.port}`)}; 0`) }
}

describe("the README's tour", () => {
  for (const [role, path] of [['serve', '/health'], ['demo', '/']]) {
    test(`in the console of fanout ${role} at ${path}`, async (t) => {
      const server = await startServer(t, { role })
      const { said, paste } = await openConsole(t, server, `http://127.0.0.1:${server.port}${path}`)
      for (const code of [socket, stream, room]) await paste(code)
      await until('both follow the user', async () => (await server.get('/api/v1/connections?user=test-user')).json().connections.length === 2)
      await server.publish('user:test-user', 'to the user')
      await until('both have said so', () => said.filter((text) => text === '"to the user"').length === 2)
      await until('the room is joined', async () => (await server.get('/api/v1/connections?channel=room:lobby')).json().connections.length === 1)
      await server.publish('room:lobby', 'to the room')
      await until('the room is heard', () => said.some((text) => text.includes('to the room')))
    })
  }

  test('an event stream from another origin is not read', async (t) => {
    const server = await startServer(t)
    const { page, paste } = await openConsole(t, server, `http://localhost:${server.port}/health`)
    await paste(stream)
    await until('the browser says why', () => page.problems.some((text) => /CORS policy/.test(text)))
    assert.ok(stream.startsWith('new EventSource'))
  })
})
