// Runs test files with node:test, one process a file, and writes what happened as JSON.
// usage: node run.mjs RESULT.json CONCURRENCY FILE...
// Every leaf test counts once; suites do not. A file that dies without a test counts as a failure.
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { run } from 'node:test'
import { inspect } from 'node:util'

const [resultPath, concurrency, ...files] = process.argv.slice(2)
const FILE_TIMEOUT_MS = Number(process.env.FANOUT_TEST_FILE_TIMEOUT_MS ?? 420_000)

function why(error) {
  const cause = error?.cause ?? error
  if (cause instanceof Error || cause?.stack) return cause.stack + (cause.cause ? `\ncaused by: ${inspect(cause.cause)}` : '')
  return typeof cause === 'string' ? cause : inspect(cause)
}

/** One file. A run of its own: what a test reports as its file is where test() was called, our harness. */
function runFile(file) {
  const book = { file, passed: 0, failed: [], skipped: [], output: '', seconds: 0 }
  const began = performance.now()
  const isSuite = (data) => data.details?.type === 'suite'
  // One line for each top-level suite or test as it ends, so that a long run shows where it is.
  const progress = (word, data) => {
    if (data.nesting > 0) return
    const seconds = ((data.details?.duration_ms ?? 0) / 1000).toFixed(1)
    process.stdout.write(`   ${word} ${basename(file)}: ${data.name} (${seconds} s)\n`)
  }
  return new Promise((done) => {
    const stream = run({ files: [file], concurrency: 1, timeout: FILE_TIMEOUT_MS })
    stream.on('test:pass', (data) => {
      progress('ok  ', data)
      if (isSuite(data)) return
      if (data.skip !== undefined || data.todo !== undefined) book.skipped.push({ name: data.name, why: String(data.skip ?? data.todo) })
      else book.passed++
    })
    stream.on('test:fail', (data) => {
      progress('FAIL', data)
      // A suite fails with its children; it counts by itself only when a hook of its own broke.
      if (data.details.error?.failureType === 'subtestsFailed') return
      book.failed.push({ name: data.name, why: why(data.details.error) })
    })
    stream.on('test:stderr', (data) => { book.output += data.message })
    stream.on('test:stdout', (data) => { book.output += data.message })
    stream.on('end', () => {
      book.seconds = (performance.now() - began) / 1000
      if (book.passed + book.failed.length + book.skipped.length === 0) {
        book.failed.push({ name: basename(file), why: 'the file ran no test' })
      }
      done(book)
    })
    stream.resume()
  })
}

const books = []
const waiting = [...files]
await Promise.all(Array.from({ length: Number(concurrency) }, async () => {
  while (waiting.length) books.push(await runFile(waiting.shift()))
}))
books.sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file))
writeFileSync(resultPath, JSON.stringify(books))
process.exit(0)
