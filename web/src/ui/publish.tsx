import { useState, type FormEvent, type KeyboardEvent, type ReactElement } from 'react'
import { publishRaw } from '../model/sample'

const FIRST = '{"type":"test","message":"hello"}'

export function Publish({ user }: { user: string }): ReactElement {
  const [text, setText] = useState(FIRST)
  const [result, setResult] = useState<{ text: string; bad: boolean }>()
  const [busy, setBusy] = useState(false)
  const publish = async (): Promise<void> => {
    if (busy) return
    setBusy(true)
    const begin = performance.now()
    try {
      const cursor = await publishRaw(`user:${user}`, text)
      setResult({ text: `Published${cursor ? ` at ${cursor}` : ''} in ${(performance.now() - begin).toFixed(0)} ms`, bad: false })
    } catch (error) {
      setResult({ text: (error as Error).message, bad: true })
    }
    setBusy(false)
  }
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    void publish()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
    event.preventDefault()
    void publish()
  }
  return (
    <section className="card" aria-labelledby="publish-title">
      <div className="card-head"><h2 id="publish-title">Publish</h2><span className="hint clip">to user:{user}</span></div>
      <form className="row publish" onSubmit={submit}>
        <textarea aria-label="Payload" rows={2} value={text} spellCheck={false} aria-describedby="publish-note"
          onChange={(event) => setText(event.target.value)} onKeyDown={onKeyDown} />
        <button type="submit" disabled={text === ''}>Publish</button>
      </form>
      <p className={result?.bad ? 'note bad' : 'note'} id="publish-note" role="status">{result?.text ?? 'Any bytes; Ctrl+Enter publishes'}</p>
    </section>
  )
}
