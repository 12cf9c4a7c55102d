// Runs test files with node:test, one process a file, and writes what happened as JSON.
// usage: node run.mjs RESULT.json CONCURRENCY FILE...
// Every leaf test counts once; suites do not. A file that dies without a test counts as a failure.
import { run } from 'node:test'
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { inspect } from 'node:util'

const [resultPath, concurrency, ...files] = process.argv.slice(2)
const FILE_TIMEOUT_MS = Number(process.env.FANOUT_TEST_FILE_TIMEOUT_MS ?? 420_000)

const perFile = new Map(files.map((file) => [file, { passed: 0, failed: [], skipped: [], output: '' }]))
const bookOf = (data) => perFile.get(data.file) ?? perFile.get(files.find((f) => data.name === f || basename(f) === basename(data.file ?? '')))
  ?? perFile.get(files[0])

function why(error) {
  const cause = error?.cause ?? error
  if (cause instanceof Error || cause?.stack) return cause.stack + (cause.cause ? `\ncaused by: ${inspect(cause.cause)}` : '')
  return typeof cause === 'string' ? cause : inspect(cause)
}

const stream = run({ files, concurrency: Number(concurrency), timeout: FILE_TIMEOUT_MS })
stream.on('test:pass', (data) => {
  const book = bookOf(data)
  progress('ok  ', data)
  if (isSuite(data)) return
  if (data.skip !== undefined || data.todo !== undefined) book.skipped.push({ name: data.name, why: String(data.skip ?? data.todo) })
  else book.passed++
})
stream.on('test:fail', (data) => {
  const book = bookOf(data)
  progress('FAIL', data)
  // A suite fails with its children; it counts by itself only when a hook of its own broke.
  if (isSuite(data) && data.details.error?.failureType === 'subtestsFailed') return
  if (data.details.error?.failureType === 'subtestsFailed') return
  book.failed.push({ name: data.name, why: why(data.details.error), line: data.line })
})
stream.on('test:stderr', (data) => { bookOf(data).output += data.message })
stream.on('test:stdout', (data) => { bookOf(data).output += data.message })
stream.resume()

// One line for each top-level suite or test as it ends, so that a long run shows where it is.
function progress(word, data) {
  if (data.nesting > 0) return
  const seconds = ((data.details?.duration_ms ?? 0) / 1000).toFixed(1)
  process.stdout.write(`   ${word} ${basename(data.file ?? '')}: ${data.name} (${seconds} s)\n`)
}

function isSuite(data) {
  return data.details?.type === 'suite' || (data.nesting === 0 && files.includes(data.name))
}

stream.on('end', () => {
  const result = [...perFile].map(([file, book]) => {
    if (book.passed + book.failed.length + book.skipped.length === 0) {
      book.failed.push({ name: basename(file), why: 'the file ran no test' })
    }
    return { file, ...book }
  })
  writeFileSync(resultPath, JSON.stringify(result))
  process.exit(0)
})
