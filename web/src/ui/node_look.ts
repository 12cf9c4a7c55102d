import type { NodeDetail } from '../model/flow_api'
import { duration } from '../model/format'
import type { IconName } from './icon'

export type NodeStatus = 'idle' | 'running' | 'waiting' | 'completed' | 'failed' | 'skipped'

/** Not by colour alone. */
export const NODE_ICONS: Record<NodeStatus, IconName> = {
  idle: 'circle', running: 'play', waiting: 'clock', completed: 'check', failed: 'cross', skipped: 'minus'
}

/** How a node is shown: its colour's name, and a few words beside its own name. */
export function nodeLook(node: NodeDetail, now: number): { status: NodeStatus; words: string } {
  const { state, attempt, max_attempts, percent, due_ms } = node
  const took = node.queued_ms ? Math.max(0, (node.finished_ms || now) - node.queued_ms) : undefined
  const again = [
    ...(node.visits > 1 ? [`visit ${node.visits}`] : []),
    ...(attempt > 1 ? [`try ${attempt} of ${max_attempts}`] : [])
  ]
  const words = (...parts: (string | undefined)[]): string => [...parts, ...again].filter(Boolean).join(' · ')
  const left = due_ms ? duration(Math.max(0, due_ms - now)) : undefined
  switch (state) {
    case 'queued':
      return { status: 'running', words: words(typeof percent === 'number' ? `${Math.round(percent)} %` : 'running', took === undefined ? undefined : duration(took)) }
    case 'waiting':
      return { status: 'waiting', words: words(node.waits_for === 'approval' ? 'needs approval' : left ? `goes on in ${left}` : 'waiting') }
    case 'backoff':
      return { status: 'waiting', words: words(left ? `tries again in ${left}` : 'tries again') }
    case 'completed':
      return { status: 'completed', words: words(took === undefined ? 'completed' : duration(took)) }
    case 'failed':
      return { status: 'failed', words: words('failed') }
    case 'skipped':
      return { status: 'skipped', words: 'skipped' }
    default:
      return { status: 'idle', words: node.type }
  }
}
