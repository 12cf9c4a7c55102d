/** A value that components share: opened for the first of them, closed a moment after the last. */
export interface Store<S, E> {
  get(): S
  subscribe(changed: () => void): () => void
  /** What has happened, for callbacks: unlike `get`, nothing is left out. */
  hear(listener: (event: E) => void): () => void
}

type Open<S, E> = (set: (change: (now: S) => S) => void, tell: (event: E) => void) => () => void

const stores = new WeakMap<object, Map<string, Store<any, any>>>()

/**
 * The store of this owner and key. Closing waits for the next task, since React takes a component down
 * and puts it up again (StrictMode, a changed key) where nobody means to leave.
 */
export function sharedStore<S, E>(owner: object | undefined, key: string | undefined, empty: S, open: Open<S, E>): Store<S, E> {
  if (!owner || key === undefined) return { get: () => empty, subscribe: () => () => {}, hear: () => () => {} }
  let ofOwner = stores.get(owner)
  if (!ofOwner) stores.set(owner, ofOwner = new Map())
  const known = ofOwner.get(key) as Store<S, E> | undefined
  if (known) return known
  const names = ofOwner
  const store: Store<S, E> = createStore(empty, open, (isOpen) => {
    if (isOpen) names.set(key, store)
    else if (names.get(key) === store) names.delete(key)
  })
  names.set(key, store)
  return store
}

function createStore<S, E>(empty: S, open: Open<S, E>, opened: (isOpen: boolean) => void): Store<S, E> {
  const changed = new Set<() => void>()
  const listeners = new Set<(event: E) => void>()
  let value = empty
  let close: (() => void) | undefined
  let leaving: ReturnType<typeof setTimeout> | undefined
  const set = (change: (now: S) => S) => {
    value = change(value)
    for (const tell of [...changed]) tell()
  }
  return {
    get: () => value,
    subscribe(listener) {
      clearTimeout(leaving)
      changed.add(listener)
      if (!close) {
        close = open(set, (event) => { for (const hear of [...listeners]) hear(event) })
        opened(true)
      }
      return () => {
        changed.delete(listener)
        if (changed.size > 0) return
        leaving = setTimeout(() => {
          close?.()
          close = undefined
          value = empty
          opened(false)
        }, 0)
      }
    },
    hear(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
}
