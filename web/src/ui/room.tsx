import { useEffect, useId, useLayoutEffect, useRef, useState, type FormEvent, type ReactElement } from 'react'
import type { ConnectionState } from 'fanout-client'
import { useChannel, useFanout } from 'fanout-client/react'
import type { Place } from '../model/address'
import { clock, nameProblem } from '../model/format'
import { Icon } from './icon'
import { tabId } from './tabs'

export interface RoomProps {
  room: string
  name: string
  onGo(change: Partial<Place>): void
  onState(state: ConnectionState): void
}

interface Said {
  from: string | undefined
  text: string
  at: number | undefined
}

/** A room is a channel: what a raw member of /ws?room= says is text without a name. */
function saidOf(data: unknown): Said {
  if (data !== null && typeof data === 'object') {
    const { from, text, at } = data as { from?: unknown; text?: unknown; at?: unknown }
    if (typeof text === 'string') return { from: typeof from === 'string' ? from : undefined, text, at: typeof at === 'number' ? at : undefined }
  }
  return { from: undefined, at: undefined, text: typeof data === 'string' ? data : JSON.stringify(data) }
}

export function Room({ room, name, onGo, onState }: RoomProps): ReactElement {
  const client = useFanout()
  const { events, state, resets, error } = useChannel(`room:${room}`, { since: 'begin' })
  const [asked, setAsked] = useState({ room, name })
  const [problem, setProblem] = useState<string>()
  const [text, setText] = useState('')
  const [failure, setFailure] = useState<string>()
  const log = useRef<HTMLDivElement>(null)
  const id = useId()

  useEffect(() => onState(state), [state, onState])
  useLayoutEffect(() => {
    if (log.current) log.current.scrollTop = log.current.scrollHeight
  }, [events])

  const enter = (event: FormEvent): void => {
    event.preventDefault()
    const found = nameProblem('room', asked.room.trim()) ?? nameProblem('name', asked.name.trim())
    setProblem(found)
    if (!found) onGo({ room: asked.room.trim(), as: asked.name.trim() })
  }
  const say = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    const said = text.trim()
    if (!said) return
    setText('')
    setFailure(undefined)
    try {
      await client?.publish(`room:${room}`, { from: name, text: said, at: Date.now() })
    } catch (thrown) {
      setText((now) => now || said) // Nothing typed is lost.
      setFailure(`Not sent: ${(thrown as Error).message}`)
    }
  }
  return (
    <div className="view" role="tabpanel" id="view" aria-labelledby={tabId('view', 'room')}>
      <div className="column">
        <section className="card" aria-labelledby={`${id}-title`}>
          <h2 id={`${id}-title`}>Room</h2>
          <form className="stack" onSubmit={enter} noValidate>
            <label>Room<input value={asked.room} onChange={(event) => setAsked({ ...asked, room: event.target.value })} autoComplete="off" autoCapitalize="none" spellCheck={false} aria-invalid={problem !== undefined} aria-describedby={`${id}-note`} /></label>
            <label>Your name<input value={asked.name} onChange={(event) => setAsked({ ...asked, name: event.target.value })} autoComplete="off" autoCapitalize="none" spellCheck={false} /></label>
            <button type="submit">Enter</button>
          </form>
          <p className={problem || error ? 'note bad' : 'note'} id={`${id}-note`} role="status">
            {problem ?? error?.message ?? 'Open this page twice, or join from a terminal:'}
          </p>
          <code className="command">npx wscat -c '{location.origin.replace(/^http/, 'ws')}/ws?room={encodeURIComponent(room)}&client_id=me'</code>
        </section>
      </div>
      <div className="column">
        <section className="card chat" aria-labelledby={`${id}-chat`}>
          <div className="card-head">
            <h2 id={`${id}-chat`} className="clip">#{room}</h2>
            <span className="hint end">{resets > 0 ? 'some earlier messages are gone' : events.length > 0 ? `${events.length} messages` : ''}</span>
          </div>
          <div className="log" role="log" aria-label="Messages" tabIndex={0} ref={log}>
            {events.length === 0
              ? <div className="empty"><Icon name="inbox" /><p><strong>{error ? 'This room cannot be entered' : 'Nobody has said anything yet'}</strong></p><p>{error ? 'Choose another name.' : 'Say something: every member hears it, on every gateway.'}</p></div>
              : events.map(({ cursor, data }) => <Line key={cursor} said={saidOf(data)} own={name} />)}
          </div>
          <form className="row say" onSubmit={(event) => void say(event)}>
            <input aria-label="Message" placeholder={`Message as ${name}`} value={text} onChange={(event) => setText(event.target.value)} autoComplete="off" />
            <button type="submit" className="primary">Send</button>
          </form>
          <p className="note bad" role="status">{failure ?? ' '}</p>
        </section>
      </div>
    </div>
  )
}

function Line({ said, own }: { said: Said; own: string }): ReactElement {
  const mine = said.from === own
  return (
    <div className={mine ? 'said mine' : 'said'}>
      <p className="said-head"><b>{said.from ?? 'a raw member'}</b>{said.at !== undefined && <time>{clock(said.at, false)}</time>}</p>
      <p className="said-text">{said.text}</p>
    </div>
  )
}
