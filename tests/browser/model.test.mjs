// What the page works out before it draws, without a browser. Proves:
// - a graph of any shape is laid out so that no two nodes touch, every edge leads on, loop edges lead back outside of the
//   nodes, and all of it is within the plane; of a thousand nodes, too, and of edges that make no sense
// - the coordinator's times replace those of the events, for the attempt that they are of and no other
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const WEB = fileURLToPath(new URL('../../web/', import.meta.url))
const { buildSync } = createRequire(new URL('../../clients/js/package.json', import.meta.url))('esbuild')

/** A module of the page, as it is. */
async function page(path) {
  const { outputFiles } = buildSync({
    entryPoints: [`${WEB}src/${path}`], bundle: true, format: 'esm', write: false,
    alias: { 'fanout-client': fileURLToPath(new URL('../../clients/js/src/index.ts', import.meta.url)) }
  })
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString('base64')}`)
}

/** Numbers that repeat, from a seed. */
function numbers(seed) {
  return (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor(seed / 2 ** 32 * below)
  }
}

/** Each edge leads from a lower to a higher number, loop edges the other way. */
function randomGraph(seed) {
  const random = numbers(seed)
  const count = 1 + random(25)
  const ids = Array.from({ length: count }, (_, i) => `n${i}`)
  const edges = []
  for (let i = 0; i < random(3 * count); i++) {
    const [a, b] = [random(count), random(count)]
    if (a === b) edges.push({ from: ids[a], to: ids[a], loop: true })
    else edges.push({ from: ids[Math.min(a, b)], to: ids[Math.max(a, b)], loop: false })
    if (random(5) === 0) edges.push({ from: ids[Math.max(a, b)], to: ids[Math.min(a, b)], loop: true })
  }
  return { ids, edges }
}

const coordinates = (path) => [...path.matchAll(/(-?[\d.]+) (-?[\d.]+)/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }))

function check({ ids, edges }, layout, { nodeWidth, nodeHeight, down }) {
  assert.deepEqual(layout.nodes.map(({ id }) => id), ids)
  const inside = ({ x, y }, what) => assert.ok(x >= 0 && y >= 0 && x <= layout.width && y <= layout.height, `${what} at ${x}, ${y} in ${layout.width} × ${layout.height}`)
  const columns = new Map() // Of nodes that could touch.
  for (const node of layout.nodes) {
    inside(node, node.id)
    inside({ x: node.x + nodeWidth, y: node.y + nodeHeight }, node.id)
    const along = down ? node.y : node.x
    columns.set(along, [...columns.get(along) ?? [], down ? node.x : node.y])
  }
  const starts = [...columns.keys()].toSorted((a, b) => a - b)
  for (let i = 1; i < starts.length; i++) assert.ok(starts[i] - starts[i - 1] > (down ? nodeHeight : nodeWidth), 'layers are apart')
  for (const across of columns.values()) {
    across.sort((a, b) => a - b)
    for (let i = 1; i < across.length; i++) assert.ok(across[i] - across[i - 1] > (down ? nodeWidth : nodeHeight), 'nodes of a layer are apart')
  }
  assert.equal(layout.edges.length, edges.length)
  for (const { index, path, label } of layout.edges) {
    const points = coordinates(path)
    for (const point of [...points, label]) inside(point, path)
    const along = points.map(({ x, y }) => down ? y : x)
    if (!edges[index].loop) assert.ok(along.every((now, i) => i === 0 || now >= along[i - 1]), `${path} leads on`)
    else assert.ok(along.at(-1) <= along[0] , `${path} leads back`)
  }
}

describe('the graph', async () => {
  const { layoutGraph } = await page('model/graph.ts')
  const SIZES = { nodeWidth: 150, nodeHeight: 46, layerGap: 50, nodeGap: 16, down: false }

  for (const down of [false, true]) {
    test(`2,000 shapes, ${down ? 'down' : 'to the right'}`, () => {
      for (let seed = 1; seed <= 2000; seed++) {
        const graph = randomGraph(seed)
        const sizes = { ...SIZES, down }
        try {
          check(graph, layoutGraph(graph.ids, graph.edges, sizes), sizes)
        } catch (error) {
          error.message += `\nseed ${seed}: ${JSON.stringify(graph)}`
          throw error
        }
      }
    })
  }

  test('a node stands behind the furthest of those before it', () => {
    const edge = (from, to) => ({ from, to, loop: false })
    const { nodes } = layoutGraph(['end', 'c', 'b', 'a'], [edge('a', 'end'), edge('c', 'end'), edge('b', 'c'), edge('a', 'b')], SIZES)
    const x = Object.fromEntries(nodes.map((node) => [node.id, node.x]))
    assert.ok(x.a < x.b && x.b < x.c && x.c < x.end)
  })

  test('a chain of a thousand nodes, the last named first', () => {
    const ids = Array.from({ length: 1000 }, (_, i) => `n${999 - i}`)
    const edges = ids.slice(1).map((id, i) => ({ from: id, to: ids[i], loop: false }))
    check({ ids, edges }, layoutGraph(ids, edges, SIZES), SIZES)
  })

  test('edges of nodes that there are not, and a cycle, do no harm', () => {
    const { nodes, edges } = layoutGraph(['a', 'b'], [{ from: 'a', to: 'x', loop: false }, { from: 'a', to: 'b', loop: false }, { from: 'b', to: 'a', loop: false }], SIZES)
    assert.equal(nodes.length, 2)
    assert.ok(edges.every(({ path }) => !path.includes('NaN')))
  })

  test('no node, no edge', () => {
    const { nodes, edges } = layoutGraph([], [], SIZES)
    assert.deepEqual([nodes, edges], [[], []])
  })
})

describe('the times of a run', async () => {
  const { sharpened, viewOf } = await page('model/run.ts')
  const event = (second, type, more) => ({ event: { type, run_id: 'r', ...more }, time: second * 1000 })
  const events = [
    event(100, 'workflow_started', { nodes: 1 }),
    event(100, 'node_started', { node_id: 'a', attempt: 1 }), event(101, 'node_completed', { node_id: 'a' }),
    event(101, 'node_started', { node_id: 'a', attempt: 1 }), event(101, 'node_completed', { node_id: 'a' }),
    event(101, 'workflow_completed', { duration_ms: 1300 })
  ]
  const detail = (visits, attempt = 1) => ({ created_ms: 100_200, finished_ms: 101_500, nodes: [{ id: 'a', visits, attempt, queued_ms: 101_100, finished_ms: 101_400 }], edges: [] })

  test('are exact for the attempt that they are of', () => {
    const view = sharpened(viewOf(events), detail(2))
    assert.deepEqual([view.startedAt, view.endedAt], [100_200, 101_500])
    assert.deepEqual(view.lanes[0].spans.map(({ from, to }) => [from, to]), [[100_000, 101_000], [101_100, 101_400]])
  })

  test('are left alone when the events are behind', () => {
    assert.deepEqual(sharpened(viewOf(events), detail(3)).lanes, viewOf(events).lanes)
    assert.deepEqual(sharpened(viewOf(events), detail(2, 2)).lanes, viewOf(events).lanes)
  })
})
