import { memo, useLayoutEffect, useMemo, useRef, useState, type ReactElement } from 'react'
import type { EdgeDetail, RunDetail } from '../model/flow_api'
import { layoutGraph, type GraphEdge, type Layout, type Sizes } from '../model/graph'
import { Icon } from './icon'
import { NODE_ICONS, nodeLook, type NodeStatus } from './node_look'

const NARROW_PX = 560
const NODE_HEIGHT_PX = 46
/** The first that fits is taken; in a narrow window those that go down are tried first. */
const ONWARD: Sizes[] = [152, 132].map((nodeWidth) => ({ nodeWidth, nodeHeight: NODE_HEIGHT_PX, layerGap: nodeWidth / 3, nodeGap: 16, down: false }))
const DOWN: Sizes[] = [152, 128, 104, 92].map((nodeWidth) => ({ nodeWidth, nodeHeight: NODE_HEIGHT_PX, layerGap: 40, nodeGap: 12, down: true }))
const LABEL_MAX = 18
/** Past this many, it scrolls anyhow, and is laid out once. */
const FIT_NODES_MAX = 100

export interface GraphProps {
  detail: RunDetail
  now: number
  selected: string | undefined
  onSelect(nodeId: string | undefined): void
}

/** The workflow with what has happened to each node and edge. The lines are SVG, the nodes are buttons. */
export function Graph({ detail, now, selected, onSelect }: GraphProps): ReactElement {
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const element = box.current!
    setWidth(element.clientWidth)
    const resized = new ResizeObserver(() => setWidth(element.clientWidth))
    resized.observe(element)
    return () => resized.disconnect()
  }, [])
  // The shape does not change while a run goes on, only the states: it is laid out once.
  const shape = useMemo(() => JSON.stringify([detail.nodes.map(({ id }) => id), detail.edges.map(({ from, to, max_iterations }) => [from, to, max_iterations !== undefined])]), [detail])
  const { layout, sizes } = useMemo(() => {
    const [ids, edges] = JSON.parse(shape) as [string[], [string, string, boolean][]]
    return fit(ids, edges.map(([from, to, loop]) => ({ from, to, loop })), width)
  }, [shape, width])
  const nodes = new Map(detail.nodes.map((node) => [node.id, node]))
  return (
    <div className="graph" ref={box} role="group" aria-label="Graph of the workflow" tabIndex={-1}>
      <div className="graph-plane" style={{ width: layout.width, height: layout.height }}>
        <Lines layout={layout} detail={detail} />
        <ul aria-label="Nodes of the workflow">
          {layout.nodes.map(({ id, x, y }) => {
            const node = nodes.get(id)!
            const { status, words } = nodeLook(node, now)
            return (
              <li key={id} style={{ left: x, top: y, width: sizes.nodeWidth, height: sizes.nodeHeight }}>
                <GraphNode id={id} type={node.type} status={status} words={words} percent={node.percent ?? undefined} selected={id === selected} onSelect={onSelect} />
              </li>
            )
          })}
        </ul>
      </div>
    </div>
  )
}

function fit(ids: string[], edges: GraphEdge[], width: number): { layout: Layout; sizes: Sizes } {
  const wishes = width < NARROW_PX ? DOWN : [...ONWARD, ...DOWN.slice(0, 1)]
  for (const sizes of ids.length > FIT_NODES_MAX ? [] : wishes) {
    const layout = layoutGraph(ids, edges, sizes)
    if (layout.width <= width) return { layout, sizes }
  }
  const sizes = width < NARROW_PX ? DOWN.at(-1)! : ONWARD[0]!
  return { layout: layoutGraph(ids, edges, sizes), sizes }
}

// Time passes several times a second, and little of a large graph changes with it: hence memo().
const Lines = memo(function Lines({ layout, detail }: { layout: Layout; detail: RunDetail }): ReactElement {
  const visits = new Map(detail.nodes.map((node) => [node.id, node.visits]))
  return (
    <svg width={layout.width} height={layout.height} aria-hidden="true">
      <defs>
        {(['open', 'taken', 'skipped'] as const).map((state) => (
          <marker key={state} id={`arrow-${state}`} viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="8" markerHeight="8" orient="auto">
            <path className="arrow" data-state={state} d="M0 0.500 8 4 0 7.500z" />
          </marker>
        ))}
      </defs>
      {layout.edges.map(({ index, path, label }) => {
        const edge = detail.edges[index]!
        const state = stateOf(edge, visits)
        const text = labelOf(edge)
        return (
          <g key={index} className="edge" data-state={state} data-loop={edge.max_iterations !== undefined || undefined}>
            <path d={path} markerEnd={`url(#arrow-${state})`} />
            {text && <text x={label.x} y={label.y - 5} textAnchor="middle">{text.length > LABEL_MAX ? `${text.slice(0, LABEL_MAX - 1)}…` : text}<title>{text}</title></text>}
          </g>
        )
      })}
    </svg>
  )
})

interface GraphNodeProps {
  id: string
  type: string
  status: NodeStatus
  words: string
  percent: number | undefined
  selected: boolean
  onSelect(nodeId: string | undefined): void
}

const GraphNode = memo(function GraphNode({ id, type, status, words, percent, selected, onSelect }: GraphNodeProps): ReactElement {
  return (
    <button type="button" className="graph-node" data-status={status} data-node={id} aria-pressed={selected} aria-label={`${id}: ${status}, ${words}`} title={`${id} (${type}): ${status}, ${words}`}
      onClick={() => onSelect(selected ? undefined : id)}>
      <span className="graph-node-name"><Icon name={NODE_ICONS[status]} /><span className="clip">{id}</span></span>
      <span className="graph-node-words clip">{words}</span>
      {status === 'running' && percent !== undefined && <span className="graph-node-progress" style={{ width: `${Math.min(100, Math.max(0, percent))}%` }} />}
    </button>
  )
})

/** A loop edge is never settled: it is drawn as taken once it was. It counts from zero again when the loop is left. */
function stateOf(edge: EdgeDetail, visits: ReadonlyMap<string, number>): 'open' | 'taken' | 'skipped' {
  if (edge.max_iterations === undefined) return edge.state ?? 'open'
  return edge.iterations || (visits.get(edge.to) ?? 0) > 1 ? 'taken' : 'open'
}

function labelOf(edge: EdgeDetail): string {
  if (edge.max_iterations !== undefined) return edge.iterations ? `${edge.iterations} of ${edge.max_iterations} ×` : `at most ${edge.max_iterations} ×`
  return edge.when === undefined ? '' : typeof edge.when === 'string' ? edge.when : JSON.stringify(edge.when)
}
