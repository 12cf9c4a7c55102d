import type { Environment } from './environment.js'
import type { Http } from './http.js'
import type { ChannelRequest } from './transport.js'

/** What one URL may name. */
const CHANNELS_MAX = 100

/**
 * Channels that can share one URL: the filter and the batching of a URL hold for all it names.
 * A list of channels changes rarely and then often several at once, so changes are gathered.
 */
export class Groups {
  readonly #requests = new Map<string, ChannelRequest>()
  #scheduled: unknown

  constructor(readonly env: Environment, readonly changed: () => void) {}

  add(request: ChannelRequest): void {
    this.#requests.set(request.channel, request)
    this.#schedule()
  }

  remove(channel: string): void {
    if (this.#requests.delete(channel)) this.#schedule()
  }

  close(): void {
    this.env.clearTimeout(this.#scheduled)
    this.#requests.clear()
  }

  /** The requests, each list fit for one URL. */
  list(): ChannelRequest[][] {
    const groups = new Map<string, ChannelRequest[]>()
    const full: ChannelRequest[][] = []
    for (const request of this.#requests.values()) {
      const key = JSON.stringify([request.types ?? [], request.batchMs ?? 0])
      const group = groups.get(key) ?? []
      group.push(request)
      if (group.length === CHANNELS_MAX) {
        full.push(group)
        groups.delete(key)
      } else {
        groups.set(key, group)
      }
    }
    return [...full, ...groups.values()]
  }

  #schedule(): void {
    this.env.clearTimeout(this.#scheduled)
    this.#scheduled = this.env.setTimeout(this.changed, 0)
  }
}

/** The URL that names these channels, each with where it continues. */
export function groupUrl(http: Http, path: string, group: readonly ChannelRequest[], more: [string, string][] = []): string {
  const query: [string, string][] = group.map(({ channel }) => ['channel', channel])
  const since = group.map((request) => request.since() ?? '-')
  if (since.some((cursor) => cursor !== '-')) query.push(['since', since.join(',')])
  const { types, batchMs } = group[0]!
  if (types?.length) query.push(['types', types.join(',')])
  if (batchMs) query.push(['batch_ms', String(batchMs)])
  return http.url(path, [...query, ...more])
}
