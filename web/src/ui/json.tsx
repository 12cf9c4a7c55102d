import type { ReactElement } from 'react'

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d[\d.eE+-]*/g
const TEXT_MAX = 64 * 1024

/** A payload in full, indented and coloured. */
export function Json({ value }: { value: unknown }): ReactElement {
  const text = (value instanceof Uint8Array ? hex(value) : typeof value === 'string' ? value : JSON.stringify(value, null, 2)).slice(0, TEXT_MAX)
  if (typeof value === 'string' || value instanceof Uint8Array) return <pre>{text}</pre>
  const out: (string | ReactElement)[] = []
  let at = 0
  for (const match of text.matchAll(TOKEN)) {
    const [token, string, colon, word] = match
    out.push(text.slice(at, match.index))
    at = match.index + token.length
    const kind = string === undefined ? (word ? 'word' : 'number') : colon ? 'key' : 'string'
    out.push(<span key={match.index} className={`j-${kind}`}>{string ?? token}</span>, colon ?? '')
  }
  return <pre>{out}{text.slice(at)}</pre>
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
