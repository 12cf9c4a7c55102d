import { useEffect, useState, useSyncExternalStore } from 'react'
import { DetailWatch, FlowWatch, NO_DETAIL, NO_FLOW, type DetailView, type FlowView } from '../model/flow_watch'

const noListener = (): (() => void) => () => {}
const noFlow = (): FlowView => NO_FLOW
const noDetail = (): DetailView => NO_DETAIL

export interface FlowModel extends FlowView {
  watch: FlowWatch | undefined
}

/** What the coordinator offers to this user. */
export function useFlow(user: string): FlowModel {
  const [watch, setWatch] = useState<FlowWatch>()
  useEffect(() => {
    const made = new FlowWatch(user)
    setWatch(made)
    return () => {
      made.close()
      setWatch(undefined)
    }
  }, [user])
  const view = useSyncExternalStore(watch?.subscribe ?? noListener, watch?.get ?? noFlow)
  return { ...view, watch }
}

/** The coordinator's view of a run, looked at again with each of its events. */
export function useDetail(runId: string | undefined, eventCount: number): DetailView {
  const [watch, setWatch] = useState<DetailWatch>()
  useEffect(() => {
    if (runId === undefined) return undefined
    const made = new DetailWatch(runId)
    setWatch(made)
    return () => {
      made.close()
      setWatch(undefined)
    }
  }, [runId])
  useEffect(() => {
    watch?.poke()
  }, [watch, eventCount])
  return useSyncExternalStore(watch?.subscribe ?? noListener, watch?.get ?? noDetail)
}
