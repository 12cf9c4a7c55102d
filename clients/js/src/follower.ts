import { Backoff, type BackoffOptions } from './backoff.js'
import { before, formatCursor, isAhead, parseCursor, relate, type Cursor } from './cursor.js'
import type { Environment } from './environment.js'
import { asFanoutError } from './errors.js'
import { typeFilter, type Envelope, type GapNotice, type StateNotice } from './payload.js'
import type { ChannelRequest, HistoryPage } from './transport.js'

export interface FollowerOptions {
  /** 'begin', a cursor, or undefined for live only. */
  since: string | undefined
  types: readonly string[] | undefined
  batchMs: number | undefined
  /** Offsets without a hole are expected: a hole is a loss. */
  repair: boolean
  /** Quiet this long, history is asked whether the last message was lost; 0 = never. */
  idleMs: number
  idleMaxMs: number
  backoff: BackoffOptions
}

/** An event, and where a subscriber stands once it has it. */
export type Placed = Omit<Envelope, 'channel'> & { cursor: string }

/** What a follower needs of the client, and tells it. */
export interface FollowerPort {
  history(channel: string, since: string): Promise<HistoryPage>
  deliver(event: Placed): void
  /** Continuity is lost; what follows begins behind `cursor`. Delivery waits for a promise. */
  reset(cursor: string): void | Promise<void>
  /** Answered by the gateway for the first time. */
  ready(): void
  changed(): void
}

/** Events kept while a hole is filled. What does not fit comes with the history that is being read. */
const PENDING_MAX = 1000
const IDLE_FACTOR = 1.5
const BEGIN = 'begin'

type Phase =
  /** Not answered by the gateway since the connection came up. */
  | 'asking'
  | 'live'
  /** Reading history, or waiting for the application to deal with a reset. Events are kept aside. */
  | 'busy'

/**
 * Where one subscriber stands in one channel, and the promise "each event once, in order".
 *
 * The position only moves forward, by an event delivered or by the gateway's word. An event that does
 * not follow it directly is kept aside while history is read from the position; one that lies behind it
 * is a repetition. When a channel is quiet the last message may be what was lost, so history is asked:
 * after idleMs, then less and less often.
 */
export class Follower implements ChannelRequest {
  readonly channel: string
  readonly #env: Environment
  readonly #options: FollowerOptions
  readonly #port: FollowerPort
  readonly #wanted: (data: unknown) => boolean
  readonly #backoff: Backoff
  #phase: Phase = 'asking'
  #position: Cursor | undefined
  #pending: Envelope[] = []
  /** The connection in use has said where the channel stands. */
  #answered = false
  #recovering = false
  /** The application is dealing with a reset. */
  #held: Promise<void> | undefined
  /** The last offset the gateway said it dropped; 0 = none that matters. */
  #gapTo = 0
  /** Grows whenever what runs asynchronously has become void. */
  #round = 0
  #idleTimer: unknown
  #idleInterval: number
  #closed = false

  constructor(env: Environment, channel: string, options: FollowerOptions, port: FollowerPort) {
    this.channel = channel
    this.#env = env
    this.#options = options
    this.#port = port
    this.#wanted = typeFilter(options.types)
    this.#backoff = new Backoff(env, options.backoff)
    this.#position = parseCursor(options.since)
    this.#idleInterval = options.idleMs
  }

  get types(): readonly string[] | undefined { return this.#options.types }
  get batchMs(): number | undefined { return this.#options.batchMs }
  get caughtUp(): boolean { return this.#phase === 'live' }

  /** Where to continue; also after this process is gone. */
  get cursor(): string | undefined {
    return this.#position && formatCursor(this.#position)
  }

  since(): string | undefined {
    return this.cursor ?? this.#options.since
  }

  close(): void {
    this.#closed = true
    this.#void()
    this.#env.clearTimeout(this.#idleTimer)
  }

  /** The connection is gone: the next one begins with an answer to since(). */
  down(): void {
    if (this.#closed) return
    this.#void()
    this.#answered = false
    this.#env.clearTimeout(this.#idleTimer)
    this.#setPhase('asking')
  }

  // --- from the connection ----------------------------------------------------------------------

  notice({ state, cursor }: StateNotice): void {
    const at = parseCursor(cursor)
    if (this.#closed || !at) return
    if (state === 'reset') {
      this.#void()
      if (this.#announce(at)) this.#resume()
      else this.#setPhase('busy')
    } else if (!this.#recovering && (!this.#position || isAhead(at, this.#position))) {
      // "live" and "replayed" answer since(): between the position and this cursor there is nothing.
      this.#position = at
    }
    if (this.#phase === 'asking') this.#resume()
    if (!this.#answered) {
      this.#answered = true
      this.#active()
      this.#port.ready()
    }
  }

  event(event: Envelope): void {
    if (this.#closed) return
    this.#active()
    if (this.#phase === 'busy' || this.#held) this.#keep(event)
    else this.#take(event)
  }

  gap({ to }: GapNotice): void {
    if (this.#closed) return
    this.#gapTo = Math.max(this.#gapTo, to)
    if (this.#phase !== 'busy' && !this.#held) this.#fillGap()
  }

  // --- order ------------------------------------------------------------------------------------

  /** Delivers, drops or keeps one event. False: it was kept, and so should be what follows. */
  #take(event: Envelope): boolean {
    const cursor = parseCursor(event.cursor)
    if (!cursor) { // In no history: it stands nowhere, and moves nobody.
      if (event.cursor === undefined && this.#wanted(event.data)) this.#port.deliver({ ...event, cursor: this.cursor ?? '' })
      return true
    }
    if (!this.#position) {
      // The answer to the subscription was lost on the way, and this event proves it is in force.
      if (this.#options.since === BEGIN) return this.#interrupt(event)
      this.#position = before(cursor)
    }
    switch (relate(this.#position, cursor)) {
      case 'seen':
        return true
      case 'next':
        break
      case 'hole':
        if (this.#options.repair) return this.#interrupt(event)
        break
      case 'other-epoch':
        if (this.#announce(before(cursor))) break
        this.#keep(event)
        this.#setPhase('busy')
        return false
    }
    this.#deliver(event, cursor)
    return true
  }

  #interrupt(event: Envelope): false {
    this.#keep(event)
    void this.#recover()
    return false
  }

  #deliver(event: Omit<Envelope, 'channel'>, cursor: Cursor): void {
    if (this.#closed) return // By the application, in the callback just before.
    this.#position = cursor
    if (this.#wanted(event.data)) this.#port.deliver({ ...event, cursor: formatCursor(cursor) })
  }

  #keep(event: Envelope): void {
    if (this.#pending.length < PENDING_MAX) this.#pending.push(event)
  }

  /** Takes what was kept aside; a hole in it starts over. */
  #resume(): void {
    if (this.#held) {
      this.#setPhase('busy')
      return
    }
    this.#setPhase('live')
    const kept = this.#pending
    this.#pending = []
    for (const [i, event] of kept.entries()) {
      if (!this.#take(event)) {
        this.#pending.push(...kept.slice(i + 1))
        return
      }
    }
    this.#fillGap()
  }

  #fillGap(): void {
    const to = this.#gapTo
    this.#gapTo = 0
    if (to && (!this.#position || to > this.#position.offset)) void this.#recover()
  }

  /**
   * Says that continuity is lost and that what follows begins behind `at`. False: the application asked,
   * by a promise, to wait until it has dealt with that.
   */
  #announce(at: Cursor): boolean {
    this.#position = at
    this.#gapTo = 0
    const told = this.#port.reset(formatCursor(at))
    if (told instanceof Promise) {
      const held: Promise<void> = Promise.all([this.#held, told]).then(() => {
        if (this.#held !== held) return // Another reset came meanwhile.
        this.#held = undefined
        if (this.#phase === 'busy' && !this.#recovering) this.#resume()
      })
      this.#held = held
    }
    return !this.#held
  }

  /** What runs, and what it was kept for, has become pointless. */
  #void(): void {
    this.#round++
    this.#recovering = false
    this.#pending = []
    this.#gapTo = 0
  }

  // --- history ----------------------------------------------------------------------------------

  /** Reads history from the position to its end, page by page, for as long as it takes. */
  async #recover(): Promise<void> {
    const round = ++this.#round
    const from = this.since()
    this.#recovering = true
    this.#setPhase('busy')
    for (;;) {
      const page = await this.#page()
      if (round !== this.#round) return
      if (page === 'none' || page.state === 'reset') {
        this.#recovering = false
        this.#historyLost(page === 'none' ? undefined : page.cursor)
        return
      }
      this.#takePage(page)
      if (round !== this.#round) return // The application has unsubscribed meanwhile.
      if (!page.more) break
    }
    // Not in history yet, or not in this gateway's: ask again, but not in a tight loop.
    if (this.#pending.length && this.since() === from) await this.#pause()
    else this.#backoff.reset()
    if (round !== this.#round) return
    this.#recovering = false
    this.#resume()
  }

  /** The next page, however often it has to be asked for; 'none' when it will never come. */
  async #page(): Promise<HistoryPage | 'none'> {
    const round = this.#round
    for (;;) {
      try {
        return await this.#port.history(this.channel, this.since() ?? BEGIN)
      } catch (error) {
        if (asFanoutError(error).final || round !== this.#round) return 'none'
        await this.#pause()
        if (round !== this.#round) return 'none'
      }
    }
  }

  /** What lies between is gone for good; what was received since is not. */
  #historyLost(cursor: string | undefined): void {
    const first = parseCursor(this.#pending[0]?.cursor)
    const at = (first ? before(first) : parseCursor(cursor)) ?? this.#position
    if (!at || this.#announce(at)) this.#resume()
    else this.#setPhase('busy')
  }

  #takePage(page: HistoryPage): void {
    const round = this.#round
    for (const event of page.events) {
      const cursor = parseCursor(event.cursor)
      if (cursor && (!this.#position || isAhead(cursor, this.#position))) this.#deliver(event, cursor)
      if (round !== this.#round) return
    }
    const end = parseCursor(page.cursor)
    if (end && (!this.#position || isAhead(end, this.#position))) this.#position = end
  }

  #pause(): Promise<void> {
    return new Promise((done) => { this.#env.setTimeout(done, this.#backoff.next()) })
  }

  // --- the last message -------------------------------------------------------------------------

  /** Something came: the next look at history is idleMs away. */
  #active(): void {
    this.#idleInterval = this.#options.idleMs
    this.#planIdle()
  }

  #planIdle(): void {
    this.#env.clearTimeout(this.#idleTimer)
    if (this.#options.idleMs > 0 && !this.#closed) {
      this.#idleTimer = this.#env.setTimeout(() => void this.#lookForLoss(), this.#idleInterval)
    }
  }

  async #lookForLoss(): Promise<void> {
    const { idleMs, idleMaxMs } = this.#options
    const [round, from] = [this.#round, this.since()]
    this.#idleInterval = Math.min(idleMaxMs, this.#idleInterval * IDLE_FACTOR)
    this.#planIdle()
    if (this.#phase !== 'live' || from === undefined) return
    try {
      const page = await this.#port.history(this.channel, from)
      if (round !== this.#round || this.#phase !== 'live' || page.events.length === 0 && page.state !== 'reset') return
      if (from !== this.since()) return // The connection spoke meanwhile, and speaks for itself.
      this.#idleInterval = idleMs
      this.#planIdle()
      if (page.state === 'reset') this.#historyLost(page.cursor)
      else {
        this.#takePage(page)
        if (page.more) void this.#recover()
      }
    } catch {
      // The connection is what counts; the next look comes.
    }
  }

  #setPhase(phase: Phase): void {
    if (this.#phase === phase || this.#closed) return
    this.#phase = phase
    this.#port.changed()
  }
}
