// A strict reader of the Prometheus text format 0.0.4: anything it does not know is an error, so that
// a scrape that a real Prometheus would refuse cannot pass here.
import assert from 'node:assert/strict'

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"/
const NUMBER = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN)$/
const TYPES = new Set(['counter', 'gauge', 'histogram', 'summary', 'untyped'])

const number = (text) => text.endsWith('Inf') ? (text[0] === '-' ? -Infinity : Infinity) : Number(text)

function parseSample(line) {
  const name = NAME.exec(line)?.[0]
  assert.ok(name, `no metric name: ${line}`)
  let rest = line.slice(name.length)
  const labels = {}
  if (rest.startsWith('{')) {
    rest = rest.slice(1)
    while (!rest.startsWith('}')) {
      const label = LABEL.exec(rest)
      assert.ok(label, `bad label: ${line}`)
      assert.ok(!(label[1] in labels), `label twice: ${line}`)
      labels[label[1]] = label[2].replace(/\\(.)/g, (_, c) => c === 'n' ? '\n' : c)
      rest = rest.slice(label[0].length)
      if (rest.startsWith(',')) rest = rest.slice(1)
      else assert.ok(rest.startsWith('}'), `bad labels: ${line}`)
    }
    rest = rest.slice(1)
  }
  const words = rest.trim().split(/[ \t]+/)
  assert.ok(words.length === 1 || words.length === 2, `value and at most a timestamp: ${line}`)
  assert.match(words[0], NUMBER, line)
  if (words[1] !== undefined) assert.match(words[1], /^-?\d+$/, line)
  return { name, labels, value: number(words[0]), text: words[0] }
}

/** Parses and checks; returns { samples, types, value(name, labels?), sum(name), matching(regex) }. */
export function parseMetrics(text) {
  assert.ok(text.endsWith('\n'), 'the last line ends with a newline')
  const samples = []
  const types = new Map()
  const helps = new Set()
  const finished = new Set()
  let family = null
  const seen = new Set()
  const enter = (name) => {
    if (name === family) return
    assert.ok(!finished.has(name), `the lines of ${name} do not stand together`)
    if (family !== null) finished.add(family)
    family = name
  }
  for (const line of text.slice(0, -1).split('\n')) {
    assert.ok(!line.includes('\r'), `carriage return: ${line}`)
    if (line === '') continue
    if (line.startsWith('#')) {
      const comment = /^# (HELP|TYPE) ([^ ]+) ?(.*)$/.exec(line)
      if (!comment) continue
      const [, kind, name, what] = comment
      assert.equal(NAME.exec(name)?.[0], name, line)
      enter(name)
      if (kind === 'HELP') {
        assert.ok(!helps.has(name), `HELP twice: ${name}`)
        helps.add(name)
      } else {
        assert.ok(TYPES.has(what), line)
        assert.ok(!types.has(name), `TYPE twice: ${name}`)
        types.set(name, what)
      }
      continue
    }
    const sample = parseSample(line)
    const base = sample.name.replace(/_(bucket|sum|count)$/, '')
    enter(['histogram', 'summary'].includes(types.get(base)) ? base : sample.name)
    const key = sample.name + JSON.stringify(Object.entries(sample.labels).sort())
    assert.ok(!seen.has(key), `twice: ${line}`)
    seen.add(key)
    samples.push(sample)
  }
  for (const sample of samples) {
    if (types.get(sample.name) === 'counter') assert.ok(sample.value >= 0, `negative counter: ${sample.name}`)
  }
  for (const [name, type] of types) if (type === 'histogram') checkHistogram(name, samples)
  const value = (name, labels = {}) => {
    const found = samples.filter((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
    assert.ok(found.length > 0, `there is no metric ${name} ${JSON.stringify(labels)}`)
    return found.reduce((total, s) => total + s.value, 0)
  }
  return {
    samples, types, helps, value,
    has: (name) => samples.some((s) => s.name === name),
    matching: (pattern) => samples.filter((s) => pattern.test(s.name + JSON.stringify(s.labels)))
  }
}

/** Buckets rise, the last is +Inf and equals _count, and _sum is there. */
function checkHistogram(name, samples) {
  const groups = new Map()
  for (const s of samples.filter((x) => x.name === `${name}_bucket`)) {
    const { le, ...rest } = s.labels
    assert.ok(le !== undefined, `${name}_bucket without le`)
    const key = JSON.stringify(Object.entries(rest).sort())
    if (!groups.has(key)) groups.set(key, [])
    groups.get(key).push({ le: number(le), value: s.value })
  }
  assert.ok(groups.size > 0, `histogram ${name} has no bucket`)
  for (const [key, buckets] of groups) {
    for (let i = 1; i < buckets.length; i++) {
      assert.ok(buckets[i].le > buckets[i - 1].le, `${name}${key}: le does not rise`)
      assert.ok(buckets[i].value >= buckets[i - 1].value, `${name}${key}: buckets are not cumulative`)
    }
    assert.equal(buckets.at(-1).le, Infinity, `${name}${key}: no +Inf bucket`)
    const same = (s, suffix) => s.name === name + suffix && JSON.stringify(Object.entries(s.labels).sort()) === key
    const count = samples.find((s) => same(s, '_count'))
    assert.ok(count, `${name}${key}: no _count`)
    assert.equal(count.value, buckets.at(-1).value, `${name}${key}: +Inf differs from _count`)
    assert.ok(samples.some((s) => same(s, '_sum')), `${name}${key}: no _sum`)
  }
}

/** The series whose value rose by exactly n between two scrapes and whose name or labels match. */
export function roseBy(before, after, pattern, n) {
  const key = (s) => s.name + JSON.stringify(Object.entries(s.labels).sort())
  const old = new Map(before.samples.map((s) => [key(s), s.value]))
  return after.matching(pattern).filter((s) => s.value - (old.get(key(s)) ?? 0) === n)
}
