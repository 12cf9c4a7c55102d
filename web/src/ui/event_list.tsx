import { memo, useLayoutEffect, useRef, useState, type ReactElement } from 'react'
import { clock } from '../model/format'
import { Icon } from './icon'
import { Json } from './json'

export interface Row {
  key: string
  at: number
  cursor: string | undefined
  data: unknown
  notice: string | undefined
}

export interface EventListProps {
  rows: readonly Row[]
  panel: string
  labelledBy: string
  empty: [title: string, text: string]
}

/** How near to the end counts as at the end, px. */
const NEAR_PX = 32

/** Oldest first; it follows the newest until somebody scrolls away from it. */
export function EventList({ rows, panel, labelledBy, empty }: EventListProps): ReactElement {
  const box = useRef<HTMLDivElement>(null)
  const [following, setFollowing] = useState(true)
  useLayoutEffect(() => {
    if (following && box.current) box.current.scrollTop = box.current.scrollHeight
  }, [rows, following])
  const onScroll = (): void => {
    const { scrollTop, clientHeight, scrollHeight } = box.current!
    setFollowing(scrollTop + clientHeight >= scrollHeight - NEAR_PX)
  }
  return (
    <div className="log-frame" role="tabpanel" id={panel} aria-labelledby={labelledBy}>
      {/* Announced politely by its role; focusable, so that the keyboard can scroll it. */}
      <div className="log" role="log" aria-label="Events" tabIndex={0} ref={box} onScroll={onScroll}>
        {rows.length === 0
          ? <div className="empty"><Icon name="inbox" /><p><strong>{empty[0]}</strong></p><p>{empty[1]}</p></div>
          : rows.map((row) => <EventRow key={row.key} row={row} />)}
      </div>
      {!following && rows.length > 0 && <button type="button" className="small newest" onClick={() => setFollowing(true)}><Icon name="down" />Newest</button>}
    </div>
  )
}

const TONES: [RegExp, string][] = [[/(_completed|_decided)$/, 'ok'], [/(_failed|_cancelled)$/, 'bad'], [/_requested$/, 'warn']]
const PREVIEW_MAX = 240

const EventRow = memo(function EventRow({ row }: { row: Row }): ReactElement {
  const [open, setOpen] = useState(false)
  if (row.notice !== undefined) return <p className="notice">{row.notice}</p>
  const { type, ...rest } = parts(row.data)
  return (
    <details className="event" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <time dateTime={new Date(row.at).toISOString()}>{clock(row.at)}</time>
        {type && <span className="tag" data-tone={TONES.find(([pattern]) => pattern.test(type))?.[1]}>{type}</span>}
        <code className="preview">{rest.preview}</code>
      </summary>
      {open && <div className="payload">{row.cursor && <p className="hint">cursor <code>{row.cursor}</code></p>}<Json value={row.data} /></div>}
    </details>
  )
}, (before, after) => before.row.key === after.row.key && before.row.data === after.row.data && before.row.at === after.row.at)

/** A line: what kind of event, and what is special about it. */
function parts(data: unknown): { type: string | undefined; preview: string } {
  if (data instanceof Uint8Array) return { type: undefined, preview: `${data.length} bytes of binary` }
  if (typeof data === 'string') return { type: undefined, preview: data.slice(0, PREVIEW_MAX) || '(empty)' }
  const { type, run_id: _run, timestamp: _s, timestamp_ms: _ms, sample: _sample, ...rest } = (data ?? {}) as Record<string, unknown>
  if (typeof type !== 'string') return { type: undefined, preview: JSON.stringify(data).slice(0, PREVIEW_MAX) }
  const text = Object.entries(rest).map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`).join(' · ')
  return { type, preview: text.slice(0, PREVIEW_MAX) }
}
