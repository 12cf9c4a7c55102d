// Runs the Autobahn testsuite's fuzzing client against `fanout serve` and judges its report.
// usage: ./dev autobahn [case ...]      e.g. ./dev autobahn '1.*' '12.*'
//
// The suite is Python 2.7: version 0.8.2 works there. (25.10.1 claims Python 3, installs, and does not
// start: its modules import each other by Python 2's rules and print and except in its syntax.) Debian 12
// has no Python 2.7, so this is a tool beside the tests; websocket.test.mjs and integration/deflate.test.mjs
// hold the same ground in every run.
//
// The server has no echo. A room gives a sender its own message back, so the suite talks to
// /ws?room=autobahn-N&client_id=x; and what follows from a room decides which cases can be judged:
// - a room delivers UTF-8 as text, so a binary message that happens to be UTF-8 comes back as text:
//   1.2.1 and 9.8.1 (empty binary), 9.4.2-9 (binary, but all asterisks), 12.2.*, 12.3.* and 12.5.* (slices of an image and of program files,
//   some of them plain ASCII) are left out
// - a room takes 1 MiB: for the cases of 4 to 16 MiB the limits are raised
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { startServer } from '../support/harness.mjs'

const ROOT = resolve(new URL('../..', import.meta.url).pathname)
const HOME = join(ROOT, 'build/autobahn')
const LEFT_OUT = ['1.2.1', '9.4.2', '9.4.3', '9.4.4', '9.4.5', '9.4.6', '9.4.7', '9.4.8', '9.4.9', '9.8.1', '12.2.*', '12.3.*', '12.5.*']
const cases = process.argv.length > 2 ? process.argv.slice(2) : ['1.*', '2.*', '3.*', '4.*', '5.*', '6.*', '7.*', '9.*', '10.*', '12.*', '13.*']

/** Those of pyenv, whose python2.7 on the PATH runs only where 2.7 is the version chosen. */
function pyenv2() {
  const versions = join(process.env.PYENV_ROOT ?? join(homedir(), '.pyenv'), 'versions')
  if (!existsSync(versions)) return []
  return readdirSync(versions).filter((name) => name.startsWith('2.7')).map((name) => join(versions, name, 'bin/python2.7'))
}

function python2() {
  for (const name of [process.env.PYTHON2, 'python2.7', 'python2', ...pyenv2()].filter(Boolean)) {
    try {
      if (/^2\.7/.test(execFileSync(name, ['-c', 'import sys; print(sys.version)'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))) return name
    } catch { /* the next one */ }
  }
  return null
}

const python = python2()
if (!python) {
  console.error('autobahn: not run: the suite needs Python 2.7; name one with PYTHON2=/path/to/python2.7')
  process.exit(3)
}
const site = join(HOME, 'site')
if (!existsSync(join(site, 'autobahntestsuite'))) {
  console.log('fetching autobahntestsuite 0.8.2 into build/autobahn')
  mkdirSync(site, { recursive: true })
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', site, 'autobahntestsuite==0.8.2'], { stdio: 'inherit' })
}

rmSync(join(HOME, 'report'), { recursive: true, force: true }) // Never the counts of another run.
const undo = []
const server = await startServer({ after: (fn) => undo.push(fn) }, { args: ['--namespace', 'room:outbox_messages=100000,outbox_bytes=64MiB', '--ws-read-bytes-room', '64MiB'] })
const spec = join(HOME, 'spec.json')
writeFileSync(spec, JSON.stringify({
  options: { failByDrop: false }, outdir: join(HOME, 'report'),
  servers: [{ agent: 'fanout', url: server.path('?room=autobahn&client_id=x') }],
  cases, 'exclude-cases': LEFT_OUT, 'exclude-agent-cases': {}
}))
const ran = spawnSync(python, ['-W', 'ignore', '-c',
  `import site; site.addsitedir(${JSON.stringify(site)})\nfrom autobahntestsuite.wstest import run\nrun()`, '-m', 'fuzzingclient', '-s', spec],
{ stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
if (ran.status !== 0) console.error(ran.stderr)
for (const fn of undo.reverse()) await fn()

const report = JSON.parse(readFileSync(join(HOME, 'report/index.json'), 'utf8')).fanout
const GOOD = new Set(['OK', 'INFORMATIONAL'])
/** What offers a window smaller than ours alone: declined, as RFC 7692 allows. */
const MAY_DECLINE = /^13\.[35]\./
const rows = Object.entries(report)
const count = (word) => rows.filter(([id, r]) => r.behavior === word).length
const bad = rows.filter(([id, r]) => !GOOD.has(r.behavior) && r.behavior !== 'NON-STRICT' && !(r.behavior === 'UNIMPLEMENTED' && MAY_DECLINE.test(id)) || !GOOD.has(r.behaviorClose))
for (const [id, r] of rows) if (r.behavior === 'NON-STRICT' || r.behavior === 'UNIMPLEMENTED') console.log(`  ${id} ${r.behavior}`)
for (const [id, r] of bad) console.log(`  FAILED ${id}: ${r.behavior}, close ${r.behaviorClose}; build/autobahn/report/${r.reportfile}`)
console.log(`${rows.length} cases: ${count('OK')} ok, ${count('NON-STRICT')} not strict, ${count('INFORMATIONAL')} informational, ${count('UNIMPLEMENTED')} unimplemented, ${bad.length} failed; not judged: ${LEFT_OUT.join(' ')}`)
process.exit(bad.length || rows.length === 0 || ran.status !== 0 ? 1 : 0)
