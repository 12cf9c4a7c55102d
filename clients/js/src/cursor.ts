/**
 * A place in a channel, `epoch:offset`. Opaque to applications: store it and hand it back as `since`.
 * Here it is read, because what the numbers promise lets a client see a loss by itself: within an
 * epoch offsets grow for ever, and within a generation (the upper bits) by exactly one.
 */
export interface Cursor {
  readonly epoch: string
  readonly offset: number
}

const GENERATION = 2 ** 40

export function parseCursor(text: string | null | undefined): Cursor | undefined {
  const found = /^([a-z0-9]+):(\d{1,16})$/.exec(text ?? '')
  if (!found) return undefined
  const offset = Number(found[2])
  return Number.isSafeInteger(offset) ? { epoch: found[1]!, offset } : undefined
}

export function formatCursor(cursor: Cursor): string {
  return `${cursor.epoch}:${cursor.offset}`
}

/** The place just before this event: subscribing from there yields it first. */
export function before(cursor: Cursor): Cursor {
  return { epoch: cursor.epoch, offset: Math.max(0, cursor.offset - 1) }
}

export type Relation =
  /** The event that follows. */
  | 'next'
  /** At or before where we stand. */
  | 'seen'
  /** Further on, and something lies between, or may. */
  | 'hole'
  /** Of another history: what happened between the two is unknown. */
  | 'other-epoch'

/** How an event's cursor relates to where a subscriber stands. */
export function relate(position: Cursor, event: Cursor): Relation {
  if (event.epoch !== position.epoch) return 'other-epoch'
  if (event.offset <= position.offset) return 'seen'
  const sameGeneration = Math.floor(event.offset / GENERATION) === Math.floor(position.offset / GENERATION)
  return sameGeneration && event.offset === position.offset + 1 ? 'next' : 'hole'
}

/** True when `other` is further on in the same history. */
export function isAhead(other: Cursor, position: Cursor): boolean {
  return other.epoch === position.epoch && other.offset > position.offset
}
