// Where the nodes of a workflow are drawn: in layers, each node one behind the furthest of those before it (its longest
// path), sorted within a layer so that few edges cross. An edge that passes layers has a free place in each of them, so
// that its line does not run through a node. Loop edges lead back outside of all.
export interface GraphEdge {
  from: string
  to: string
  loop: boolean
}

export interface Point {
  x: number
  y: number
}

export interface PlacedNode extends Point {
  id: string
}

export interface PlacedEdge {
  /** Index of the edge given. */
  index: number
  /** Of an SVG path. */
  path: string
  /** Where its label has room. */
  label: Point
}

export interface Layout {
  width: number
  height: number
  nodes: PlacedNode[]
  edges: PlacedEdge[]
}

export interface Sizes {
  nodeWidth: number
  nodeHeight: number
  /** Between layers, and between the nodes of one. */
  layerGap: number
  nodeGap: number
  /** Layers go down instead of to the right. */
  down: boolean
}

/** A node, or the free place of an edge that passes by. */
interface Item {
  id: string
  real: boolean
  layer: number
  /** Centre across the layers, px. */
  across: number
  before: Item[]
  after: Item[]
}

const MARGIN = 18
const LOOP_STEP = 22
/** How far a loop edge keeps from the layers on its way to the outside. */
const LOOP_OUT = 11
const SWEEPS = 4
/** A free place is narrower than a node. */
const FREE = 0.35

export function layoutGraph(ids: readonly string[], edges: readonly GraphEdge[], sizes: Sizes): Layout {
  const items = new Map<string, Item>(ids.map((id) => [id, { id, real: true, layer: 0, across: 0, before: [], after: [] }]))
  const usable = edges.map((edge, index) => ({ ...edge, index })).filter(({ from, to }) => items.has(from) && items.has(to))
  const forward = usable.filter(({ loop }) => !loop)
  assignLayers(items, forward)
  const chains = new Map(forward.map((edge) => [edge.index, chainOf(items.get(edge.from)!, items.get(edge.to)!)]))
  const layers = layersOf([...items.values(), ...[...chains.values()].flatMap((chain) => chain.filter(({ real }) => !real))])
  for (let sweep = 0; sweep < SWEEPS; sweep++) order(layers, sweep % 2 === 0)
  return draw(layers, usable, chains, items, sizes)
}

/** Longest paths from the entries, as rounds of relaxing; a cycle, which there is none of, would end with the rounds. */
function assignLayers(items: Map<string, Item>, forward: readonly GraphEdge[]): void {
  for (let round = 0; round < items.size; round++) {
    let moved = false
    for (const { from, to } of forward) {
      const [before, after] = [items.get(from)!, items.get(to)!]
      if (after.layer > before.layer || from === to) continue
      after.layer = before.layer + 1
      moved = true
    }
    if (!moved) return
  }
}

/** From a node to a node, with a free place in each layer between them. */
function chainOf(from: Item, to: Item): Item[] {
  const chain = [from]
  for (let layer = from.layer + 1; layer < to.layer; layer++) {
    chain.push({ id: '', real: false, layer, across: 0, before: [], after: [] })
  }
  chain.push(to)
  for (let i = 1; i < chain.length; i++) {
    chain[i - 1]!.after.push(chain[i]!)
    chain[i]!.before.push(chain[i - 1]!)
  }
  return chain
}

function layersOf(items: readonly Item[]): Item[][] {
  const layers: Item[][] = []
  for (const item of items) (layers[item.layer] ??= []).push(item)
  return Array.from(layers, (layer) => layer ?? [])
}

/** Each item goes where its neighbours on one side are on average. */
function order(layers: Item[][], onward: boolean): void {
  for (const layer of layers) layer.forEach((item, i) => { item.across = i - (layer.length - 1) / 2 })
  for (const layer of onward ? layers : layers.toReversed()) {
    const wish = new Map(layer.map((item) => {
      const near = onward ? item.before : item.after
      return [item, near.length ? near.reduce((sum, { across }) => sum + across, 0) / near.length : item.across]
    }))
    layer.sort((a, b) => wish.get(a)! - wish.get(b)!)
    layer.forEach((item, i) => { item.across = i - (layer.length - 1) / 2 })
  }
}

function draw(layers: Item[][], edges: (GraphEdge & { index: number })[], chains: Map<number, Item[]>, items: Map<string, Item>, sizes: Sizes): Layout {
  const { nodeWidth, nodeHeight, layerGap, nodeGap, down } = sizes
  const [along, across] = down ? [nodeHeight, nodeWidth] : [nodeWidth, nodeHeight]
  const widthOf = ({ real }: Item): number => real ? across : across * FREE
  const lengths = layers.map((layer) => layer.reduce((sum, item) => sum + widthOf(item) + nodeGap, -nodeGap))
  const widest = Math.max(across, ...lengths)
  layers.forEach((layer, l) => {
    let at = MARGIN + (widest - lengths[l]!) / 2
    for (const item of layer) {
      item.across = at + widthOf(item) / 2
      at += widthOf(item) + nodeGap
    }
  })
  const start = (item: Item): number => MARGIN + item.layer * (along + layerGap)
  const point = (a: number, c: number): Point => down ? { x: c, y: a } : { x: a, y: c }

  let loops = 0
  const outside = MARGIN + widest
  const placed = edges.map((edge): PlacedEdge => {
    const chain = chains.get(edge.index)
    if (chain) {
      const stops = chain.flatMap((item, i) => [
        ...(i > 0 ? [point(start(item), item.across)] : []),
        ...(i < chain.length - 1 ? [point(start(item) + along, item.across)] : [])
      ])
      return { index: edge.index, path: curve(stops, down), label: middle(stops[0]!, stops[1]!) }
    }
    loops += 1
    const depth = outside + loops * LOOP_STEP
    const [from, to] = [items.get(edge.from)!, items.get(edge.to)!]
    // Beside the middle, where the others are; between two layers, where no node is.
    const side = across * 0.3
    const [leave, reach] = [start(from) + along, start(to)]
    const stops: [number, number][] = [
      [leave, from.across + side], [leave + LOOP_OUT, from.across + side], [leave + LOOP_OUT, depth],
      [reach - LOOP_OUT, depth], [reach - LOOP_OUT, to.across + side], [reach, to.across + side]
    ]
    return { index: edge.index, path: corners(stops.map(([a, c]) => point(a, c))), label: point((leave + reach) / 2, depth) }
  })
  const length = 2 * MARGIN + layers.length * (along + layerGap) - layerGap
  const breadth = outside + (loops ? loops * LOOP_STEP + LOOP_STEP : MARGIN)
  return {
    width: down ? breadth : length,
    height: down ? length : breadth,
    nodes: [...items.values()].map((item) => {
      const { x, y } = point(start(item), item.across - across / 2)
      return { id: item.id, x, y }
    }),
    edges: placed
  }
}

const middle = (a: Point, b: Point): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 })
const at = ({ x, y }: Point): string => `${x.toFixed(1)} ${y.toFixed(1)}`

/** Leaves and comes in square to the layers. */
function curve(stops: readonly Point[], down: boolean): string {
  return stops.reduce((path, stop, i) => {
    if (i === 0) return `M${at(stop)}`
    const last = stops[i - 1]!
    const half = middle(last, stop)
    const [a, b] = down ? [{ x: last.x, y: half.y }, { x: stop.x, y: half.y }] : [{ x: half.x, y: last.y }, { x: half.x, y: stop.y }]
    return `${path}C${at(a)} ${at(b)} ${at(stop)}`
  }, '')
}

const CORNER = 8

/** Straight lines with round corners. */
function corners(stops: readonly Point[]): string {
  return stops.reduce((path, stop, i) => {
    const [last, next] = [stops[i - 1], stops[i + 1]]
    if (!last) return `M${at(stop)}`
    if (!next) return `${path}L${at(stop)}`
    return `${path}L${at(toward(stop, last))}Q${at(stop)} ${at(toward(stop, next))}`
  }, '')
}

function toward(from: Point, to: Point): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y)
  const share = length > 0 ? Math.min(CORNER / length, 0.5) : 0
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share }
}
