// clients/js/README.md, run as it stands: every example is taken out of the page, pointed at a real gateway and run,
// those in JavaScript by Node, those in JSX bundled and mounted in a DOM. Proves that what people copy works.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import { SLOW, shared, startServer, test, until } from '../support/harness.mjs'

const PACKAGE = fileURLToPath(new URL('../../clients/js/', import.meta.url))
const readme = readFileSync(join(PACKAGE, 'README.md'), 'utf8')
const examples = [...readme.matchAll(/^```(js|jsx)\n([\s\S]*?)^```$/gm)].map(([, language, code]) => ({ language, code }))

/** What each example says when it works, in order of the page. Those that go on listening are ended once they have. */
const SAYS = [
  { says: [/state live/, /event \{ state: 'paid' \} [a-z0-9]+:1/] },
  { says: [/order is packed\norder is sent/], ends: true },
  { says: [/kept \{ state: 'paid' \}/] },
  { says: [/2 events, completed, live/, /finished: completed/], ends: true },
  { says: [/started, and completed/, /the last result: .*NYC/s], ends: true, coordinated: true },
  { says: [/raw test/], during: (server) => server.publish('user:alice', { type: 'test' }) },
  { jsx: (dom) => /workflow_completed/.test(dom.html) && /done/.test(dom.html) && />live</.test(dom.html) && dom.toasts.join() === 'run-2: completed', during: (server, sent) => sent ? null : server.publish('user:alice', { type: 'workflow_completed', run_id: 'run-2' }) },
  { jsx: (dom) => /data-state="live">1799<\/p>/.test(dom.html), during: (server) => server.publish('prices:gold', { price: 1799 }) },
  { says: [/published string false kept 1 false/, /FanoutError bad_channel 400/], ends: true }
]

describe('the README of clients/js', () => {
  // Inside the package, where its own name and its modules resolve.
  const at = shared(async (t) => {
    const dir = mkdtempSync(join(PACKAGE, '.readme-'))
    t.after(() => rmSync(dir, { recursive: true, force: true }))
    return { dir, server: await startServer(t), demo: await startServer(t, { role: 'demo' }) }
  })

  test('every example has its test', () => assert.equal(examples.length, SAYS.length))

  for (const [i, { says, ends, during, jsx, coordinated }] of SAYS.entries()) {
    const code = () => examples[i].code.replaceAll('http://localhost:8084', `http://127.0.0.1:${(coordinated ? at.demo : at.server).port}`)
    if (jsx) continue
    test(`example ${i + 1}: ${says.map(String).join(' ')}`, async (t) => {
      const path = join(at.dir, `example-${i}.mjs`)
      // A Node without a WebSocket of its own, as Node 20 is, gets one the way a newer one has it.
      const global = `import WebSocket from 'ws'\nglobalThis.WebSocket ??= WebSocket\n`
      writeFileSync(join(at.dir, 'global.mjs'), global)
      writeFileSync(path, code())
      const child = execFile(process.execPath, ['--import', join(at.dir, 'global.mjs'), path])
      t.after(() => child.kill('SIGKILL'))
      let out = ''
      let exit
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { out += text })
      child.on('exit', (status) => { exit = status })
      await until(`it says ${says}; it said:\n${out}`, async () => {
        await during?.(at.server)
        if (exit) throw new Error(`it ended with ${exit}:\n${out}`)
        return says.every((pattern) => pattern.test(out))
      }, { every: 100 })
      if (ends) await until('it ends', () => exit === 0)
      else assert.equal(exit, undefined, 'it goes on listening')
    })
  }

  for (const [i, { jsx, during }] of SAYS.entries()) {
    if (!jsx) continue
    test(`example ${i + 1}, in React`, async (t) => {
      const { build } = createRequire(join(PACKAGE, 'package.json'))('esbuild')
      const source = join(at.dir, `example-${i}.jsx`)
      writeFileSync(source, examples[i].code.replaceAll('http://localhost:8084', `http://127.0.0.1:${at.server.port}`))
      const entry = join(at.dir, `mount-${i}.jsx`)
      writeFileSync(entry, `
        import { Window } from 'happy-dom'
        import WebSocket from 'ws'
        const window = new Window({ url: 'http://127.0.0.1:${at.server.port}/' })
        Object.assign(globalThis, { window, document: window.document, location: window.location, addEventListener() {}, removeEventListener() {} })
        globalThis.WebSocket ??= WebSocket
        globalThis.navigator ??= window.navigator
        const { createRoot } = await import('react-dom/client')
        const { default: App } = await import('./example-${i}.jsx')
        const toasts = []
        const root = document.createElement('div')
        createRoot(root).render(<App toast={(text) => toasts.push(text)} />)
        setInterval(() => console.log(JSON.stringify({ html: root.innerHTML, toasts })), 50)`)
      const outfile = join(at.dir, `bundle-${i}.mjs`)
      await build({ entryPoints: [entry], outfile, bundle: true, splitting: false, format: 'esm', platform: 'node', jsx: 'automatic', packages: 'external', logLevel: 'silent' })
      const child = execFile(process.execPath, [outfile])
      t.after(() => child.kill('SIGKILL'))
      let out = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { out += text })
      let sent
      await until('the page shows it', async () => {
        const line = out.trimEnd().split('\n').at(-1)
        if (!line?.startsWith('{')) throw new Error(out)
        const dom = JSON.parse(line)
        if (/data-state="live"/.test(dom.html)) sent = await during(at.server, sent) ?? sent
        if (!jsx(dom)) throw new Error(line)
        return true
      }, { every: 100, ms: 10_000 * SLOW })
    })
  }
})
