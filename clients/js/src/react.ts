import {
  createContext, createElement, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
  type ReactElement, type ReactNode
} from 'react'
import { connect, type FanoutClient } from './client.js'
import { terminalStatus, type RunStatus, type WorkflowEvent } from './run_list.js'
import type { FollowRunOptions } from './run.js'
import { sharedStore, type Store } from './store.js'
import type { ConnectionState } from './state.js'
import type { ChannelEvent, ChannelReset, SubscribeOptions } from './subscription.js'

const ClientContext = createContext<FanoutClient | undefined>(undefined)

/** Gives the hooks below it a client. Without one they use the gateway that served the page. */
export function FanoutProvider({ client, children }: { client: FanoutClient; children?: ReactNode }): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children)
}

let ofThisPage: FanoutClient | undefined

/** The client of the nearest FanoutProvider. undefined on a server that renders without one. */
export function useFanout(): FanoutClient | undefined {
  const given = useContext(ClientContext)
  if (given) return given
  if (typeof location !== 'undefined') ofThisPage ??= connect()
  return ofThisPage
}

// --- a run ----------------------------------------------------------------------------------------

export interface WorkflowEvents {
  /** In order; a new array with every change. */
  events: readonly WorkflowEvent[]
  status: RunStatus
  isTerminal: boolean
  state: ConnectionState
}

const NO_RUN: WorkflowEvents = { events: [], status: 'running', isTerminal: false, state: 'catching-up' }

/** The events of one run. Components that ask for the same run share one socket and one rhythm of polls. */
export function useWorkflowEvents(
  runId: string | undefined, username: string | undefined, options: Omit<FollowRunOptions, 'username' | 'onChange'> = {}
): WorkflowEvents {
  const client = useFanout()
  const key = runId && username ? JSON.stringify(['run', runId, username, options]) : undefined
  return useShared(client, key, NO_RUN, (set) => {
    const run = client!.followRun(runId!, {
      ...options,
      username: username!,
      onChange: ({ events, status, isTerminal, state }) => set(() => ({ events, status, isTerminal, state }))
    })
    set((now) => ({ ...now, state: run.state }))
    return () => run.close()
  })
}

// --- a user ---------------------------------------------------------------------------------------

export interface UserEvents {
  /** Of every run, oldest first; the last `max` of them. */
  events: readonly WorkflowEvent[]
  state: ConnectionState
}

export interface UserEventsOptions {
  /** A run has come to its end: the place for a toast. Once a run. */
  onCompleted?: (completed: { runId: string; status: RunStatus; event: WorkflowEvent }) => void
  onEvent?: (event: WorkflowEvent) => void
  /** Events kept. Default 1000. */
  max?: number
}

const NO_USER: UserEvents = { events: [], state: 'catching-up' }
/** Runs remembered, so that one end is told once. */
const ENDED_MAX = 1000

/** The events of every run of a user. */
export function useUserEvents(username: string | undefined, options: UserEventsOptions = {}): UserEvents {
  const client = useFanout()
  const { max = 1000 } = options
  const latest = useLatest(options)
  const value = useShared(client, username ? JSON.stringify(['user', username, max]) : undefined, NO_USER, (set) => {
    const feed = client!.user(username!)
    const stop = feed.listen({
      onEvent: (event) => set((now) => ({ ...now, events: [...now.events, event].slice(-max) })),
      onState: (state) => set((now) => ({ ...now, state }))
    })
    set((now) => ({ ...now, state: feed.state }))
    return stop
  })
  useEffect(() => {
    if (!client || !username) return undefined
    const ended = new Set<string>()
    return client.user(username).listen({
      onEvent: (event) => {
        latest.current.onEvent?.(event)
        const status = terminalStatus(event)
        if (!status || ended.has(event.run_id)) return
        ended.add(event.run_id)
        if (ended.size > ENDED_MAX) ended.delete(ended.values().next().value!)
        latest.current.onCompleted?.({ runId: event.run_id, status, event })
      }
    })
  }, [client, username])
  return value
}

// --- a channel ------------------------------------------------------------------------------------

export interface ChannelEvents<T> {
  /** Oldest first; the last `max` of them. */
  events: readonly ChannelEvent<T>[]
  state: ConnectionState
  /** How often continuity was lost: history no longer reached back. Show a hint, or load anew. */
  resets: number
  /** Why the gateway refuses this channel. */
  error: Error | undefined
}

export interface UseChannelOptions<T> extends Pick<SubscribeOptions<T>, 'since' | 'types' | 'batchMs' | 'repair'> {
  /** Events kept. Default 1000. */
  max?: number
  onEvent?: (event: ChannelEvent<T>) => void
  onReset?: (reset: ChannelReset) => void
}

const NO_CHANNEL: ChannelEvents<never> = { events: [], state: 'catching-up', resets: 0, error: undefined }

/** The events of a channel. Components that ask for the same channel in the same way share it. */
export function useChannel<T = unknown>(channel: string | undefined, options: UseChannelOptions<T> = {}): ChannelEvents<T> {
  const client = useFanout()
  const { max = 1000, since, types, batchMs, repair } = options
  const latest = useLatest(options)
  const asked = { ...(since !== undefined && { since }), ...(types && { types }), ...(batchMs && { batchMs }), ...(repair !== undefined && { repair }) }
  const key = channel ? JSON.stringify(['channel', channel, max, asked]) : undefined
  const store = useStore<ChannelEvents<T>, ChannelEvent<T> | ChannelReset>(client, key, NO_CHANNEL, (set, tell) => {
    const subscription = client!.subscribe<T>(channel!, {
      ...asked,
      onEvent: (event) => { set((now) => ({ ...now, events: [...now.events, event].slice(-max) })); tell(event) },
      onReset: (reset) => { set((now) => ({ ...now, resets: now.resets + 1 })); tell(reset) },
      onState: (state) => set((now) => ({ ...now, state }))
    })
    set((now) => ({ ...now, state: subscription.state }))
    subscription.ready.catch((error: Error) => set((now) => ({ ...now, error })))
    return () => subscription.unsubscribe()
  })
  useEffect(() => store.hear((item) => {
    if (item.kind === 'event') latest.current.onEvent?.(item)
    else latest.current.onReset?.(item)
  }), [store])
  return useSyncExternalStore(store.subscribe, store.get, store.get)
}

// --- state ----------------------------------------------------------------------------------------

const WORDS: Record<ConnectionState, string> = {
  'live': 'live',
  'catching-up': 'catching up',
  'polling': 'real-time updates unavailable, polling',
  'offline': 'offline, trying again'
}

export interface ConnectionStatusProps {
  /** Of a hook; without it the client's. */
  state?: ConnectionState
  /** Other words, or another language. */
  words?: Partial<Record<ConnectionState, string>>
  className?: string
}

/** One line for people: "live", "real-time updates unavailable, polling". Style it by `[data-state]`. */
export function ConnectionStatus({ state, words, className = 'fanout-status' }: ConnectionStatusProps): ReactElement {
  const own = useClientState()
  const shown = state ?? own
  return createElement('span', { 'role': 'status', 'aria-live': 'polite', className, 'data-state': shown }, words?.[shown] ?? WORDS[shown])
}

/** The state of the client itself. */
export function useClientState(): ConnectionState {
  const client = useFanout()
  const [state, setState] = useState<ConnectionState>(client?.state ?? 'catching-up')
  useEffect(() => {
    if (!client) return undefined
    setState(client.state)
    return client.onState(setState)
  }, [client])
  return state
}

// --- between stores and components ----------------------------------------------------------------

function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value)
  useEffect(() => { latest.current = value })
  return latest
}

type Open<S, E> = Parameters<typeof sharedStore<S, E>>[3]

/** The store of this key: the same object for every component, until the last has gone. */
function useStore<S, E = never>(client: FanoutClient | undefined, key: string | undefined, empty: S, open: Open<S, E>): Store<S, E> {
  // The key holds all that `open` depends on.
  return useMemo(() => sharedStore<S, E>(client, key, empty, open), [client, key])
}

function useShared<S>(client: FanoutClient | undefined, key: string | undefined, empty: S, open: Open<S, never>): S {
  const store = useStore<S>(client, key, empty, open)
  return useSyncExternalStore(store.subscribe, store.get, store.get)
}
