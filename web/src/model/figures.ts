/** Live figures of the gateway: GET /admin/stats and GET /metrics, once a second. */
export interface Figures {
  /** The gateway answered the last time. */
  answers: boolean
  /** Failures in a row: one may be a coincidence. */
  failures: number
  connections: number | undefined
  users: number | undefined
  delivered: number | undefined
  dropped: number | undefined
  /** Deliveries a second. */
  rate: number | undefined
  /** Publish to write, seconds, over the last QUANTILE_MS. */
  p50: number | undefined
  p99: number | undefined
  version: string | undefined
  /** Of the last POINTS seconds. */
  series: Series
}

/** Columns of equal length; null where there is nothing to say. Time in seconds. */
export interface Series {
  time: number[]
  rate: (number | null)[]
  p50: (number | null)[]
  p99: (number | null)[]
}

type Buckets = [le: number, count: number][]

interface Reading {
  at: number
  delivered: number
  buckets: Buckets
}

const INTERVAL_MS = 1000
const TIMEOUT_MS = 4000
const QUANTILE_MS = 10_000
export const POINTS = 90

const NOTHING: Figures = {
  answers: true, failures: 0, connections: undefined, users: undefined, delivered: undefined, dropped: undefined,
  rate: undefined, p50: undefined, p99: undefined, version: undefined, series: emptySeries()
}

/** A window without a past: the plot has its size and its axis from the first moment. */
function emptySeries(): Series {
  const now = Math.floor(Date.now() / 1000)
  const empty = (): null[] => Array.from({ length: POINTS }, () => null)
  return { time: Array.from({ length: POINTS }, (_, i) => now - POINTS + 1 + i), rate: empty(), p50: empty(), p99: empty() }
}

export class FiguresWatch {
  readonly #listeners = new Set<() => void>()
  #figures = NOTHING
  #readings: Reading[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  readonly get = (): Figures => this.#figures

  /** Asks while somebody listens. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) void this.#ask()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) clearTimeout(this.#timer)
    }
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer)
    const begin = performance.now()
    if (document.visibilityState === 'visible') {
      try {
        const [stats, metrics] = await Promise.all([get('/admin/stats'), get('/metrics')])
        this.#read(JSON.parse(stats) as Record<string, unknown>, metrics)
      } catch {
        this.#failed()
      }
      for (const listener of this.#listeners) listener()
    }
    if (this.#listeners.size === 0) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#ask(), Math.max(100, INTERVAL_MS - (performance.now() - begin)))
  }

  #failed(): void {
    const { series, failures } = this.#figures
    this.#readings = []
    this.#figures = {
      ...this.#figures, answers: false, failures: failures + 1, rate: undefined, p50: undefined, p99: undefined,
      series: appended(series, null, null, null)
    }
  }

  #read(stats: Record<string, unknown>, metrics: string): void {
    const books = (stats['books'] ?? {}) as { delivered?: number; dropped?: Record<string, number> }
    const now: Reading = {
      at: performance.now(), delivered: books.delivered ?? 0, buckets: bucketsOf(metrics, 'fanout_publish_to_write_seconds')
    }
    const last = this.#readings.at(-1)
    if (last && now.delivered < last.delivered) this.#readings = [] // It was restarted and counts from zero.
    const before = this.#readings.at(-1)
    const rate = before && (now.delivered - before.delivered) / (now.at - before.at) * 1000
    const oldest = this.#readings[0]
    this.#figures = {
      answers: true,
      failures: 0,
      connections: stats['connections'] as number | undefined,
      users: stats['users'] as number | undefined,
      delivered: books.delivered,
      dropped: books.dropped && Object.values(books.dropped).reduce((sum, n) => sum + n, 0),
      rate,
      p50: oldest && quantile(now.buckets, oldest.buckets, 0.5),
      p99: oldest && quantile(now.buckets, oldest.buckets, 0.99),
      version: stats['version'] as string | undefined,
      series: appended(this.#figures.series, rate ?? null,
        before ? quantile(now.buckets, before.buckets, 0.5) ?? null : null,
        before ? quantile(now.buckets, before.buckets, 0.99) ?? null : null)
    }
    this.#readings.push(now)
    while (this.#readings[0]!.at < now.at - QUANTILE_MS) this.#readings.shift()
  }
}

function appended(series: Series, rate: number | null, p50: number | null, p99: number | null): Series {
  return {
    time: [...series.time.slice(1), Date.now() / 1000],
    rate: [...series.rate.slice(1), rate],
    p50: [...series.p50.slice(1), p50],
    p99: [...series.p99.slice(1), p99]
  }
}

async function get(path: string): Promise<string> {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) })
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return response.text()
}

/** Cumulative buckets of a histogram without labels of its own. */
function bucketsOf(metrics: string, name: string): Buckets {
  const buckets: Buckets = []
  for (const [, le, count] of metrics.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"\\} (\\S+)`, 'gm'))) {
    buckets.push([le === '+Inf' ? Infinity : Number(le), Number(count)])
  }
  return buckets
}

/** The q-quantile of what came between two readings, interpolated within its bucket. */
function quantile(now: Buckets, before: Buckets, q: number): number | undefined {
  const counts = now.map(([le, count], i): [number, number] => [le, count - (before[i]?.[1] ?? 0)])
  const all = counts.at(-1)?.[1] ?? 0
  if (all <= 0) return undefined
  let [low, below] = [0, 0]
  for (const [le, count] of counts) {
    if (count >= q * all) {
      if (le === Infinity) return low
      return low + (le - low) * (count > below ? (q * all - below) / (count - below) : 1)
    }
    [low, below] = [le, count]
  }
  return low
}
