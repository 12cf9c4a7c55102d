// What an application in TypeScript writes; types.test.mjs has the compiler read it.
import { connect, FanoutError, type ConnectionState } from 'fanout-client'
import { ConnectionStatus, useChannel, useUserEvents, useWorkflowEvents } from 'fanout-client/react'

interface Order { state: 'paid' | 'sent' }

export async function orders(): Promise<Order['state'][]> {
  const fanout = connect('http://gateway', { token: async () => 'jwt', backoff: { maxMs: 1000 } })
  const subscription = fanout.subscribe<Order>('orders:1', { since: 'begin', onReset: async ({ cursor }) => { cursor.length } })
  const states: Order['state'][] = []
  for await (const item of subscription) {
    if (item.kind === 'reset') continue
    states.push(item.data.state)
  }
  const state: ConnectionState = fanout.state
  if (state === 'offline' && fanout.lastError instanceof FanoutError) return []
  return states
}

export async function flights(): Promise<number> {
  const fanout = connect('http://gateway', { runsUrl: 'http://coordinator' })
  const { runId } = await fanout.startRun('flight-search', { username: 'alice', inputs: { city: 'NYC' } })
  const decided: 'approved' | 'rejected' = await fanout.approve(runId, 'review', { username: 'bob', approved: false, comment: 'too dear' })
  // @ts-expect-error: whose run it is has to be said
  await fanout.cancelRun(runId)
  const { flights: found } = await fanout.result<{ flights: string[] }>('sha256:00')
  return decided === 'approved' ? found.length : 0
}

export function Page(): unknown {
  const run = useWorkflowEvents('run', 'alice', { pollMs: 1000, backoff: true })
  const channel = useChannel<Order>('orders:1', { onEvent: ({ data }) => data.state })
  useUserEvents(undefined, { onCompleted: ({ runId, status }) => `${runId} ${status}` })
  // @ts-expect-error: there is no such state
  const wrong: boolean = run.state === 'connected'
  return [ConnectionStatus({ state: run.state }), channel.events[0]?.data.state, wrong]
}
