import { useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import type { ConnectionState, FanoutClient } from 'fanout-client'
import { useWorkflowEvents } from 'fanout-client/react'
import { viewOf, type RunView, type TimedEvent } from '../model/run'
import { Arrivals, NOBODY, UserWatch, type UserView, type WatchedRun } from '../model/user_watch'

/** A run under way may have begun before this page; what a raw socket lost just before the end is fetched. */
const FOLLOW = { pollAtStart: true, pollAtEnd: true }

export interface SelectedRun {
  runId: string
  events: readonly TimedEvent[]
  view: RunView
}

export interface RunsModel {
  user: UserView
  runs: readonly WatchedRun[]
  selected: SelectedRun | undefined
  /** The library's: of the run in view while it goes on, else of the user. */
  state: ConnectionState
  select(runId: string | undefined): void
  clear(): void
}

const noListener = (): (() => void) => () => {}
const nobody = (): UserView => NOBODY

/**
 * The user's events, and the hybrid for the run in view: the newest, unless one was picked. newestKept: a run that the
 * coordinator knows, for a user whose events have told of none.
 */
export function useRuns(client: FanoutClient, username: string, newestKept: string | undefined): RunsModel {
  const [watch, setWatch] = useState<UserWatch>()
  const [picked, setPicked] = useState<string>()
  useEffect(() => {
    const made = new UserWatch(client, username)
    setWatch(made)
    setPicked(undefined)
    return () => {
      made.close()
      setWatch(undefined)
    }
  }, [client, username])
  const user = useSyncExternalStore(watch?.subscribe ?? noListener, watch?.get ?? nobody)

  const runId = picked ?? user.runs[0]?.runId ?? newestKept
  const followed = useWorkflowEvents(runId, username, FOLLOW)
  const arrivals = useMemo(() => new Arrivals(), [])
  const own = user.runs.find((run) => run.runId === runId)?.events
  const selected = useMemo(() => {
    if (runId === undefined) return undefined
    // Polls may know more than the user's channel does now, and the other way round for a run of the past.
    const polled = followed.events.length > (own?.length ?? 0)
    const events = polled ? arrivals.timed(followed.events) : own ?? []
    return { runId, events, view: viewOf(events) }
  }, [runId, followed.events, own, arrivals])

  const going = selected?.view.status === 'running' && selected.events.length > 0
  return {
    user,
    runs: user.runs,
    selected,
    state: going ? followed.state : user.state,
    select: setPicked,
    clear: () => watch?.clear()
  }
}
