// A gateway as wire.md describes it, small enough to be steered: it answers fanout.v1 on the World's sockets
// and history on its fetch. The real one is met in tests/integration/client_*.test.mjs.
export class Gateway {
  log = [] // { channel, offset, data } of everything published.
  epoch = 'e1'
  first = 1 // Offsets below are no longer kept.
  lose = false // What is sent to sockets goes nowhere.
  subscribed = new Map() // channel -> socket
  commands = []
  #offsets = new Map()

  constructor(world) {
    this.world = world
    world.answer = (request) => this.http(request)
  }

  /** Lets the newest socket open and speaks with it. */
  open() {
    const { socket } = this.world
    socket.onsend = (command) => this.#command(socket, command)
    return socket.open()
  }
  /** Opens every socket the client makes, once it has one. */
  async up() {
    await this.world.advance(0)
    this.open()
    await this.world.advance(0)
  }

  cursor(offset) { return `${this.epoch}:${offset}` }
  last(channel) { return this.#offsets.get(channel) ?? this.first - 1 }

  publish(channel, data, { offset = this.last(channel) + 1 } = {}) {
    this.#offsets.set(channel, offset)
    const event = { channel, offset, epoch: this.epoch, data }
    this.log.push(event)
    this.send(channel, { channel, cursor: this.cursor(offset), data })
    return this.cursor(offset)
  }
  send(channel, value) { if (!this.lose) this.subscribed.get(channel)?.say(value) }

  /** A new history: what a restart without storage does. */
  newEpoch(epoch) {
    this.epoch = epoch
    this.log = []
    this.#offsets.clear()
  }

  page(channel, since, limit) {
    const last = this.last(channel)
    const [epoch, offset] = since === 'begin' ? [this.epoch, this.first - 1] : since.split(':')
    if (epoch !== this.epoch || Number(offset) > last || Number(offset) < this.first - 1) {
      return { channel, events: [], cursor: this.cursor(last), state: 'reset', more: false }
    }
    const after = this.log.filter((event) => event.channel === channel && event.epoch === this.epoch && event.offset > Number(offset))
    const events = after.slice(0, limit).map(({ offset: at, data }) => ({ cursor: this.cursor(at), data }))
    return { channel, events, cursor: events.at(-1)?.cursor ?? this.cursor(last), state: after.length ? 'replayed' : 'live', more: after.length > limit }
  }

  http({ path, query }) {
    const found = /\/api\/v1\/channels\/([^/]+)\/history$/.exec(path)
    if (!found) return { status: 404, body: { error: { code: 'not_found', message: 'no such address' } } }
    return { body: this.page(decodeURIComponent(found[1]), query.get('since') ?? 'begin', this.pageMax ?? Number(query.get('limit'))) }
  }

  #command(socket, command) {
    this.commands.push(command)
    if (this.lose) return
    const { id, subscribe, unsubscribe, history, ping } = command
    if (ping) socket.say({ id, ok: {} })
    if (history) socket.say({ id, ok: this.page(history.channel, history.since, history.limit) })
    if (unsubscribe) {
      this.subscribed.delete(unsubscribe.channel)
      socket.say({ id, ok: {} })
    }
    if (subscribe) this.#subscribe(socket, id, subscribe)
  }

  #subscribe(socket, id, { channel, since }) {
    if (this.refuse?.[channel]) {
      socket.say({ id, error: this.refuse[channel] })
      return
    }
    this.subscribed.set(channel, socket)
    const page = since === undefined ? { events: [], cursor: this.cursor(this.last(channel)), state: 'live' } : this.page(channel, since, Infinity)
    const before = page.events[0]?.cursor.split(':')
    const notice = { channel, state: page.state, cursor: before ? `${before[0]}:${before[1] - 1}` : page.cursor }
    socket.say({ id, ok: notice })
    socket.say(notice)
    for (const event of page.events) this.send(channel, { channel, ...event })
  }
}
