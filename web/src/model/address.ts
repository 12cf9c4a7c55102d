/** What the page shows, kept in the address so that it can be shared and reloaded. */
export interface Place {
  tab: 'runs' | 'room'
  user: string
  room: string
  /** Name in rooms. */
  as: string
}

const NAME_KEY = 'fanout.name'

function remembered(): string {
  try {
    const name = localStorage.getItem(NAME_KEY) ?? `guest-${Math.floor(Math.random() * 900 + 100)}`
    localStorage.setItem(NAME_KEY, name)
    return name
  } catch {
    return 'guest' // Storage is not allowed here.
  }
}

function read(): Place {
  const hash = new URLSearchParams(location.hash.slice(1))
  return {
    tab: hash.get('tab') === 'room' ? 'room' : 'runs',
    user: hash.get('user') || 'alice',
    room: hash.get('room') || 'lobby',
    as: hash.get('as') || remembered()
  }
}

export class Address {
  #place = read()
  readonly #listeners = new Set<() => void>()

  constructor() {
    addEventListener('hashchange', () => {
      this.#place = read()
      this.#tell()
    })
  }

  readonly get = (): Place => this.#place

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  go(change: Partial<Place>): void {
    this.#place = { ...this.#place, ...change }
    const { tab, user, room, as } = this.#place
    if (change.as) try { localStorage.setItem(NAME_KEY, as) } catch { /* Then it lasts as long as the page. */ }
    const hash = new URLSearchParams(tab === 'runs' ? { user } : { tab, room, as })
    history.replaceState(null, '', `#${hash}`)
    this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}
