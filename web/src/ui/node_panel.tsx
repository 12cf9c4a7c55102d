import { useEffect, useId, useRef, useState, type ReactElement } from 'react'
import { flowApi, type NodeDetail } from '../model/flow_api'
import { clock, duration } from '../model/format'
import { Json } from './json'
import { nodeLook } from './node_look'

/** One node in full: what it is, what happened to it, and its result. */
export function NodePanel({ node, now, onClose }: { node: NodeDetail; now: number; onClose(): void }): ReactElement {
  const { status } = nodeLook(node, now)
  const id = useId()
  const panel = useRef<HTMLElement>(null)
  useEffect(() => {
    panel.current?.scrollIntoView({ block: 'nearest', behavior: 'smooth' })
  }, [])
  const facts: [string, string][] = [
    ['Type', node.type],
    ['Visits', String(node.visits)],
    ['Attempt', node.attempt ? `${node.attempt} of ${node.max_attempts}` : '–'],
    ['Began', node.queued_ms ? clock(node.queued_ms) : '–'],
    ['Took', node.queued_ms && node.finished_ms ? duration(node.finished_ms - node.queued_ms) : '–']
  ]
  return (
    <section className="node-panel" ref={panel} aria-labelledby={`${id}-title`}>
      <div className="card-head">
        <h3 id={`${id}-title`} className="clip">{node.id}</h3>
        <span className="pill" data-status={status}>{status === 'idle' ? 'not begun' : status}</span>
        <button type="button" className="small node-close" onClick={onClose}>Close</button>
      </div>
      <dl className="node-facts">{facts.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
      {node.error && <p className="note bad">{node.error}</p>}
      {node.result_ref && <Result reference={node.result_ref} />}
    </section>
  )
}

function Result({ reference }: { reference: string }): ReactElement {
  const [read, setRead] = useState<{ value?: unknown; problem?: string }>()
  useEffect(() => {
    let here = true
    setRead(undefined)
    flowApi.result(reference).then((value) => { if (here) setRead({ value }) }, (error: Error) => { if (here) setRead({ problem: error.message }) })
    return () => { here = false }
  }, [reference])
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, and the keyboard must be able to
    <div className="result" role="region" aria-label="Result" tabIndex={0}>
      <p className="hint mono clip" title={reference}>{reference}</p>
      {read === undefined ? <p className="quiet">Reading the result…</p>
        : read.problem !== undefined ? <p className="note bad">{read.problem}</p>
        : <Json value={typeof read.value === 'string' ? JSON.stringify(read.value) : read.value} />}
    </div>
  )
}
