import { FanoutError } from './errors.js'

/** An event as the gateway sends it: wire.md, "Envelope frame". */
export interface Envelope {
  channel: string
  /** Absent: the event is in no history (a plain PUBLISH beside a shared one). */
  cursor?: string
  data: unknown
  /** How `data` came to be JSON: absent = it was, `text` = a string, `base64` = bytes. */
  enc?: 'text' | 'base64'
}

export interface StateNotice {
  channel: string
  state: 'live' | 'replayed' | 'reset'
  cursor: string
}

export interface GapNotice {
  channel: string
  from: number
  to: number
  reason: string
}

/** What the publisher sent: JSON values as they are, other text as a string, bytes as Uint8Array. */
export function decodePayload(envelope: { data: unknown; enc?: string }): unknown {
  if (envelope.enc !== 'base64') return envelope.data
  const binary = atob(String(envelope.data))
  return Uint8Array.from(binary, (char) => char.charCodeAt(0))
}

export function parseJson(text: string, what: string): any {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new FanoutError('bad_json', `${what} is not JSON: ${text.slice(0, 80)}`, undefined, { cause: error })
  }
}

/** `a` is that type, `b_*` all that begin with `b_`: what the gateway means by `types=`. */
export function typeFilter(types: readonly string[] | undefined): (data: unknown) => boolean {
  if (!types || types.length === 0) return () => true
  return (data) => {
    const type = (data as { type?: unknown } | null)?.type
    if (typeof type !== 'string') return false
    return types.some((wanted) => wanted.endsWith('*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted)
  }
}
