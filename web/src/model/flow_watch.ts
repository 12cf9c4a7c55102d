import { FlowError, flowApi, type RecentRun, type RunDetail, type Workflow } from './flow_api'

export interface FlowView {
  /** undefined: not known yet; false: there is no coordinator behind this gateway. */
  available: boolean | undefined
  workflows: readonly Workflow[]
  /** This user's, newest first. */
  recent: readonly RecentRun[]
  /** There are older ones. */
  more: boolean
  /** Why the lists may be old. */
  problem: string | undefined
}

export const NO_FLOW: FlowView = { available: undefined, workflows: [], recent: [], more: false, problem: undefined }

const PAGE = 50
const RETRY_MS = 3000
const NOT_FOUND = 404

abstract class Store<T> {
  readonly #listeners = new Set<() => void>()
  protected view: T
  protected closed = false

  constructor(first: T) {
    this.view = first
  }

  readonly get = (): T => this.view

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.closed = true
    this.#listeners.clear()
  }

  protected show(view: T): void {
    if (this.closed) return
    this.view = view
    for (const listener of this.#listeners) listener()
  }
}

/** What can be started, and the runs the coordinator knows of one user. */
export class FlowWatch extends Store<FlowView> {
  readonly #user: string
  readonly #asked = new Set<string>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #pages = 1

  constructor(user: string) {
    super(NO_FLOW)
    this.#user = user
    document.addEventListener('visibilitychange', this.#visible)
    void this.#loadAll()
  }

  override close(): void {
    super.close()
    clearTimeout(this.#timer)
    document.removeEventListener('visibilitychange', this.#visible)
  }

  /** Runs seen in events. A run that is not in the list is looked for once: somebody else may have published it. */
  seen(runIds: readonly string[]): void {
    const fresh = runIds.filter((runId) => !this.#asked.has(runId))
    for (const runId of fresh) this.#asked.add(runId)
    if (this.view.available && fresh.some((runId) => !this.knows(runId))) void this.refresh()
  }

  knows(runId: string): boolean {
    return this.view.recent.some((run) => run.run_id === runId)
  }

  /** It has just been started, by this page. */
  started(run: RecentRun): void {
    this.#asked.add(run.run_id)
    if (!this.knows(run.run_id)) this.show({ ...this.view, recent: [{ ...run }, ...this.view.recent] })
  }

  async older(): Promise<void> {
    this.#pages += 1
    await this.refresh()
  }

  async refresh(): Promise<void> {
    try {
      const { runs, next } = await flowApi.runs(this.#user, Math.min(1000, this.#pages * PAGE))
      for (const { run_id } of runs) this.#asked.add(run_id)
      this.show({ ...this.view, recent: runs, more: next !== null && this.#pages * PAGE < 1000, problem: undefined })
    } catch (error) {
      this.#failed(error as FlowError)
    }
  }

  async #loadAll(): Promise<void> {
    clearTimeout(this.#timer)
    try {
      const workflows = await flowApi.workflows()
      this.show({ ...this.view, available: true, workflows, problem: undefined })
      await this.refresh()
    } catch (error) {
      this.#failed(error as FlowError)
    }
  }

  readonly #visible = (): void => {
    if (document.visibilityState === 'visible' && this.view.available !== false) void this.#loadAll()
  }

  #failed({ status, message }: FlowError): void {
    if (this.closed) return
    if (status === NOT_FOUND) {
      this.show({ ...NO_FLOW, available: false })
      return
    }
    this.show({ ...this.view, problem: message })
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#loadAll(), RETRY_MS)
  }
}

export interface DetailView {
  /** The first question is answered, or cannot be. */
  settled: boolean
  detail: RunDetail | undefined
}

export const NO_DETAIL: DetailView = { settled: true, detail: undefined }

const GATHER_MS = 60
const SLOW_MS = 4000

/**
 * A run as the coordinator has it. Its events say when to look again, so that the rules of branches, joins and loops
 * are written in one place only; without events it is looked at every few seconds.
 */
export class DetailWatch extends Store<DetailView> {
  readonly #runId: string
  #timer: ReturnType<typeof setTimeout> | undefined
  #asking = false
  #again = false

  constructor(runId: string) {
    super({ settled: false, detail: undefined })
    this.#runId = runId
    void this.#ask()
  }

  override close(): void {
    super.close()
    clearTimeout(this.#timer)
  }

  /** Something happened in this run. */
  readonly poke = (): void => {
    if (this.#asking) this.#again = true
    else this.#askIn(GATHER_MS)
  }

  #askIn(ms: number): void {
    clearTimeout(this.#timer)
    if (!this.closed) this.#timer = setTimeout(() => void this.#ask(), ms)
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer)
    this.#asking = true
    this.#again = false
    let gone = false
    try {
      this.show({ settled: true, detail: await flowApi.run(this.#runId) })
    } catch (error) {
      gone = (error as FlowError).status === NOT_FOUND
      this.show({ settled: true, detail: gone ? undefined : this.view.detail })
    }
    this.#asking = false
    const over = gone || (this.view.detail !== undefined && this.view.detail.status !== 'running')
    if (this.#again) this.#askIn(GATHER_MS)
    else if (!over) this.#askIn(SLOW_MS)
  }
}
