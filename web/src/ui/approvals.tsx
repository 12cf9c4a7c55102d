import { useId, useState, type FormEvent, type ReactElement } from 'react'
import { flowApi, type RunDetail } from '../model/flow_api'
import type { RunView } from '../model/run'

/** What waits for a human, with the question and the two answers. */
export function Approvals({ detail, view, user }: { detail: RunDetail; view: RunView; user: string }): ReactElement {
  const waiting = detail.status === 'running' ? detail.nodes.filter(({ waits_for }) => waits_for === 'approval') : []
  return (
    <>
      {waiting.map((node) => (
        <Approval key={`${node.id} ${node.visits} ${node.attempt}`} runId={detail.run_id} nodeId={node.id} user={user}
          question={view.lanes.find(({ nodeId }) => nodeId === node.id)?.note} />
      ))}
    </>
  )
}

function Approval({ runId, nodeId, question, user }: { runId: string; nodeId: string; question: string | undefined; user: string }): ReactElement {
  const [comment, setComment] = useState('')
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<string>()
  const id = useId()
  const decide = async (approved: boolean): Promise<void> => {
    setBusy(true)
    setProblem(undefined)
    try {
      await flowApi.decide(runId, nodeId, approved, comment.trim(), user)
      return // The run says what follows of it, and this goes.
    } catch (error) {
      setProblem((error as Error).message)
    }
    setBusy(false)
  }
  return (
    <form className="approval" aria-labelledby={`${id}-title`} onSubmit={noDecision}>
      <p id={`${id}-title`}><b>{nodeId}</b> needs approval</p>
      {question && <p className="approval-question">{question}</p>}
      <input aria-label="Comment" placeholder="Comment (optional)" value={comment} onChange={(event) => setComment(event.target.value)} autoComplete="off" maxLength={1000} />
      <div className="row">
        <button type="button" className="primary" disabled={busy} onClick={() => void decide(true)}>Approve</button>
        <button type="button" disabled={busy} onClick={() => void decide(false)}>Reject</button>
      </div>
      {problem && <p className="note bad" role="alert">{problem}</p>}
    </form>
  )
}

/** Enter in the comment. */
function noDecision(event: FormEvent): void {
  event.preventDefault()
}
