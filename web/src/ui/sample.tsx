import { useEffect, useRef, useState, type ReactElement } from 'react'
import { publishBurst, publishSample, type SampleKind } from '../model/sample'
import { Icon } from './icon'

const BURST = 1000

export function Sample({ user, onStarted }: { user: string; onStarted(): void }): ReactElement {
  const [busy, setBusy] = useState(0)
  const [bursting, setBursting] = useState(false)
  const [problem, setProblem] = useState<string>()
  const here = useRef(true)
  useEffect(() => {
    here.current = true
    return () => { here.current = false }
  }, [])

  const watched = async (work: Promise<void>): Promise<void> => {
    setProblem(undefined)
    try {
      await work
    } catch (error) {
      if (here.current) setProblem((error as Error).message)
    }
  }
  const run = async (kind: SampleKind): Promise<void> => {
    onStarted()
    setBusy((n) => n + 1)
    await watched(publishSample(user, kind).done)
    setBusy((n) => n - 1)
  }
  const burst = async (): Promise<void> => {
    setBursting(true)
    await watched(publishBurst(user, BURST))
    setBursting(false)
  }
  return (
    <section className="card" aria-labelledby="sample-title">
      <h2 id="sample-title">Sample events</h2>
      <button type="button" onClick={() => void run('completes')}><Icon name="play" />Publish a sample run</button>
      <div className="row halves">
        <button type="button" onClick={() => void run('fails')}>A failing run</button>
        <button type="button" onClick={() => void burst()} disabled={bursting}>1,000 at once</button>
      </div>
      <p className={problem ? 'note bad' : 'note'} role="status">
        {problem ?? (busy ? `Publishing ${busy === 1 ? 'a run' : `${busy} runs`} from this page…` : 'What a coordinator would publish')}
      </p>
    </section>
  )
}
