import { useEffect, useId, useState, type FormEvent, type KeyboardEvent, type ReactElement } from 'react'
import { flowApi } from '../model/flow_api'
import { Icon } from './icon'
import type { FlowModel } from './use_flow'

/** What can be started, and with what. */
export function Workflows({ flow, user, onStarted }: { flow: FlowModel; user: string; onStarted(runId: string): void }): ReactElement | null {
  const [picked, setPicked] = useState<string>()
  const [texts, setTexts] = useState<Record<string, string>>({})
  const [problem, setProblem] = useState<string>()
  const [busy, setBusy] = useState(false)
  const id = useId()
  const usable = flow.workflows.filter(({ fault }) => fault === undefined)
  const chosen = usable.find(({ tag }) => tag === picked) ?? usable[0]
  const tag = chosen?.tag
  const text = tag === undefined ? undefined : texts[tag]

  useEffect(() => {
    if (tag === undefined || text !== undefined) return undefined
    let here = true
    const fill = (inputs: unknown): void => {
      if (here) setTexts((all) => ({ ...all, [tag]: all[tag] ?? JSON.stringify(inputs ?? {}, null, 2) }))
    }
    flowApi.definition(tag).then(({ example_inputs }) => fill(example_inputs), (error: Error) => {
      if (here) setProblem(error.message)
      fill(undefined)
    })
    return () => { here = false }
  }, [tag, text])

  if (flow.available === false) return null

  const start = async (): Promise<void> => {
    if (busy || tag === undefined || text === undefined) return
    let inputs: unknown
    try {
      inputs = text.trim() === '' ? undefined : JSON.parse(text)
    } catch (error) {
      setProblem(`The inputs are not JSON: ${(error as Error).message}.`)
      return
    }
    setBusy(true)
    setProblem(undefined)
    try {
      const run = await flowApi.start(tag, inputs, user)
      flow.watch?.started(run)
      onStarted(run.run_id)
    } catch (error) {
      setProblem((error as Error).message)
    }
    setBusy(false)
  }
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    void start()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
    event.preventDefault()
    void start()
  }
  return (
    <section className="card" aria-labelledby={`${id}-title`}>
      <div className="card-head">
        <h2 id={`${id}-title`}>Workflows</h2>
        <span className="hint">{flow.workflows.length > 0 && flow.workflows.length}</span>
      </div>
      <ul className="workflow-list" aria-labelledby={`${id}-title`}>
        {flow.workflows.map((workflow) => (
          <li key={workflow.tag}>
            <button type="button" className="run-button workflow-button" aria-pressed={workflow.tag === tag} title={workflow.fault ?? workflow.description} disabled={workflow.fault !== undefined}
              onClick={() => { setPicked(workflow.tag); setProblem(undefined) }}>
              <span className="run-name"><span>{workflow.tag}</span><span className="hint">{workflow.fault ?? workflow.description ?? workflow.types?.join(', ')}</span></span>
              {workflow.nodes !== undefined && <span className="hint end">{workflow.nodes} {workflow.nodes === 1 ? 'node' : 'nodes'}</span>}
            </button>
          </li>
        ))}
        {flow.available && flow.workflows.length === 0 && <li className="quiet">There is none yet. <code>PUT /api/v1/workflows/…</code> brings one.</li>}
      </ul>
      <form className="stack" onSubmit={submit}>
        <label>Inputs<textarea rows={4} spellCheck={false} value={text ?? ''} disabled={tag === undefined} aria-describedby={`${id}-note`}
          onChange={(event) => { if (tag !== undefined) setTexts({ ...texts, [tag]: event.target.value }); setProblem(undefined) }} onKeyDown={onKeyDown} /></label>
        <button type="submit" className="primary" disabled={tag === undefined || text === undefined || busy}><Icon name="play" />Start</button>
      </form>
      <p className={problem ?? flow.problem ? 'note bad clamp' : 'note clamp'} id={`${id}-note`} role="status">
        {problem ?? flow.problem ?? (tag === undefined ? ' ' : <>Runs as <code className="clip">{user}</code>, who is told of it</>)}
      </p>
    </section>
  )
}
