import { useId, useState, type FormEvent, type ReactElement } from 'react'
import { nameProblem } from '../model/format'

export function UserForm({ user, onUser }: { user: string; onUser(user: string): void }): ReactElement {
  const [name, setName] = useState(user)
  const [problem, setProblem] = useState<string>()
  const id = useId()
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const found = nameProblem('username', name.trim())
    setProblem(found)
    if (!found) onUser(name.trim())
  }
  return (
    <section className="card" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>User</h2>
      <form className="row" onSubmit={submit} noValidate>
        <input id={`${id}-name`} aria-label="Username" value={name} onChange={(event) => setName(event.target.value)} aria-invalid={problem !== undefined}
          aria-describedby={`${id}-note`} autoComplete="off" autoCapitalize="none" spellCheck={false} />
        <button type="submit">Watch</button>
      </form>
      <p className={problem ? 'note bad' : 'note'} id={`${id}-note`} role="status">
        {problem ?? <>Everything published to <code className="clip">user:{user}</code></>}
      </p>
    </section>
  )
}
