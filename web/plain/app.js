// The page of `fanout demo`: connect, watch events arrive, publish, see live figures.
// Plain DOM, no framework, no request to anywhere but the gateway this page came from.

const ROWS_MAX = 500 // Rows kept in the list of events; as many wait while it is paused.
const PREVIEW_MAX = 300
const PRETTY_MAX = 64 * 1024
const BACKOFF_MIN_MS = 500
const BACKOFF_MAX_MS = 15_000
const FIGURES_MS = 1000
const PLOT_SECONDS = 60
const QUANTILE_SECONDS = 10

const $ = (id) => document.getElementById(id)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const byteLength = (text) => new TextEncoder().encode(text).length

/** An element; children may be strings, which stay text. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

function note(element, text, tone) {
  element.textContent = text
  if (tone) element.dataset.tone = tone
  else delete element.dataset.tone
}

function formatCount(n) {
  if (n < 1e6) return Math.round(n).toLocaleString('en-US')
  if (n < 1e9) return `${(n / 1e6).toFixed(2)} M`
  return `${(n / 1e9).toFixed(2)} G`
}

function formatRate(n) {
  return n > 0 && n < 10 ? n.toFixed(1) : formatCount(n)
}

function formatSeconds(s) {
  if (s < 1e-3) return `${Math.max(1, Math.round(s * 1e6))} µs`
  if (s < 1) return `${(s * 1e3).toPrecision(s < 0.1 ? 2 : 3)} ms`
  return `${s.toPrecision(3)} s`
}

const formatBytes = (n) => n < 1024 ? `${n} B` : n < 1 << 20 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / (1 << 20)).toFixed(1)} MiB`

const pad = (n, width = 2) => String(n).padStart(width, '0')
const clock = (date) => `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`

// --- JSON as it came ----------------------------------------------------------------------------
// Payloads are shown from their own text: JSON.parse() and back would round long numbers.

const TOKEN = /"(?:\\.|[^"\\])*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/g

function isJson(text) {
  try { JSON.parse(text); return true } catch { return false }
}

/** The source text of one member of a JSON object. */
function memberSource(text, name) {
  let depth = 0
  let start = -1
  let before = []
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token === '}' || token === ']') depth--
    if (start >= 0 && depth === 1 && (token === ',')) return text.slice(start, index).trim()
    if (start >= 0 && depth === 0) return text.slice(start, index).trim()
    if (start < 0 && depth === 1 && token === ':' && before.at(-1) === JSON.stringify(name)) start = index + 1
    if (token === '{' || token === '[') depth++
    before = [token]
  }
  return undefined
}

/** Valid JSON, indented and coloured, as a fragment. */
function prettyJson(text) {
  const out = document.createDocumentFragment()
  const tokens = [...text.matchAll(TOKEN)].map((match) => match[0])
  let depth = 0
  const newline = () => `\n${'  '.repeat(depth)}`
  tokens.forEach((token, i) => {
    const next = tokens[i + 1]
    if (token === '{' || token === '[') {
      if (next === '}' || next === ']') return out.append(token)
      depth++
      return out.append(token, newline())
    }
    if (token === '}' || token === ']') {
      const empty = tokens[i - 1] === '{' || tokens[i - 1] === '['
      if (empty) return out.append(token)
      depth--
      return out.append(newline(), token)
    }
    if (token === ',') return out.append(token, newline())
    if (token === ':') return out.append(': ')
    const kind = token[0] === '"' ? (next === ':' ? 'key' : 'string') : /[-\d]/.test(token[0]) ? 'number' : 'word'
    out.append(el('span', { class: `j-${kind}` }, token))
  })
  return out
}

function hex(bytes) {
  return [...bytes.subarray(0, 256)].map((b) => b.toString(16).padStart(2, '0')).join(' ') + (bytes.length > 256 ? ' …' : '')
}

// --- the list of events -------------------------------------------------------------------------

const TONES = [
  [/_(completed|decided)$/, 'ok'], [/_(failed|cancelled)$/, 'bad'], [/_requested$/, 'warn']
]

/** A payload as the list needs it: one line, and what to unfold. */
function describePayload(text) {
  if (!isJson(text)) return { line: text, json: false }
  const value = JSON.parse(text)
  const type = value && typeof value === 'object' && typeof value.type === 'string' ? value.type : undefined
  return { line: text, json: true, type, tone: TONES.find(([pattern]) => pattern.test(type ?? ''))?.[1] }
}

const stream = {
  log: $('log'),
  waiting: [], // Rows to be drawn with the next frame.
  held: [], // Rows that came while paused.
  heldCount: 0,
  seen: 0,
  drawing: false,
  paused: false,
  following: true,

  event(channel, cursor, payload) {
    this.seen++
    this.add({ at: new Date(), channel, cursor, ...payload })
  },

  notice(tone, title, text = '') {
    this.add({ at: new Date(), notice: true, tone, title, text })
  },

  add(row) {
    if (this.paused) {
      this.heldCount++
      this.held.push(row)
      if (this.held.length > ROWS_MAX) this.held.shift()
    } else {
      this.waiting.push(row)
      if (this.waiting.length > 2 * ROWS_MAX) this.waiting.splice(0, ROWS_MAX)
    }
    this.schedule()
  },

  schedule() {
    if (this.drawing) return
    this.drawing = true
    requestAnimationFrame(() => { this.drawing = false; this.draw() })
  },

  draw() {
    const rows = this.waiting.splice(0).slice(-ROWS_MAX)
    this.log.append(...rows.map((row) => row.notice ? this.noticeRow(row) : this.eventRow(row)))
    while (this.log.childElementCount > ROWS_MAX) this.log.firstElementChild.remove()
    if (rows.length && this.following) this.log.scrollTop = this.log.scrollHeight
    this.showCounts()
  },

  showCounts() {
    const rows = this.log.childElementCount
    $('empty').hidden = rows > 0
    $('newest').hidden = this.following || rows === 0
    $('pause').textContent = !this.paused ? 'Pause' : this.heldCount ? `Resume (${formatCount(this.heldCount)})` : 'Resume'
    $('stream-count').textContent = this.seen === 0 ? 'none yet'
      : `${formatCount(this.seen)} received${this.seen > ROWS_MAX ? `, the last ${ROWS_MAX} rows kept` : ''}${this.paused ? ', paused' : ''}`
  },

  eventRow(row) {
    const preview = el('span', { class: 'preview' })
    if (row.type) preview.append(el('span', { class: 'tag', 'data-tone': row.tone }, row.type))
    preview.append(el('code', {}, row.line.length > PREVIEW_MAX ? `${row.line.slice(0, PREVIEW_MAX)}…` : row.line || '(empty)'))
    const summary = el('summary', {},
      el('time', { datetime: row.at.toISOString() }, clock(row.at)),
      el('span', { class: 'channel', title: row.channel }, row.channel),
      el('span', { class: 'cursor', title: row.cursor ?? 'Raw sockets carry bare payloads, without a cursor' }, row.cursor ?? '–'),
      preview)
    const details = el('details', { class: 'event' }, summary)
    details.addEventListener('toggle', () => this.unfold(details, row), { once: true })
    return details
  },

  unfold(details, row) {
    const text = row.line
    const pre = el('pre', {})
    if (row.json && text.length <= PRETTY_MAX) pre.append(prettyJson(text))
    else pre.append(text.slice(0, PRETTY_MAX))
    details.append(pre)
    if (text.length > PRETTY_MAX) {
      details.append(el('p', { class: 'hint more' }, `The first ${formatBytes(PRETTY_MAX)} of ${formatBytes(byteLength(text))}.`))
    }
  },

  noticeRow(row) {
    return el('div', { class: 'notice', 'data-tone': row.tone },
      el('time', { datetime: row.at.toISOString() }, clock(row.at)),
      el('span', {}, el('b', {}, row.title), row.text ? ` ${row.text}` : ''))
  },

  pause(on) {
    this.paused = on
    $('pause').setAttribute('aria-pressed', String(on))
    if (!on) {
      this.waiting.push(...this.held.splice(0))
      this.heldCount = 0
    }
    this.schedule()
  },

  clear() {
    this.waiting = []
    this.held = []
    this.heldCount = 0
    this.seen = 0
    this.log.replaceChildren()
    this.following = true
    this.showCounts()
  },

  follow() {
    this.following = true
    this.log.scrollTop = this.log.scrollHeight
    this.showCounts()
  },

  start() {
    $('pause').addEventListener('click', () => this.pause(!this.paused))
    $('clear').addEventListener('click', () => this.clear())
    $('newest').addEventListener('click', () => { this.follow(); this.log.focus() })
    this.log.addEventListener('scroll', () => {
      const following = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 24
      if (following !== this.following) { this.following = following; this.showCounts() }
    }, { passive: true })
  }
}

// --- the connection -----------------------------------------------------------------------------

const STATE_TEXT = { offline: 'Offline', connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', error: 'Refused' }

/** Close codes after which trying again would be refused again. */
const FINAL = {
  1008: 'An operator or a policy closed this connection.',
  1009: 'The message was too large for this endpoint.',
  4401: 'The token has expired or was revoked.',
  4403: 'This subscription is not allowed.'
}

function channelsOf(want) {
  return want.kind === 'channel' ? want.names : [`${want.kind}:${want.names[0]}`]
}

function titleOf(want) {
  return want.kind === 'channel' ? want.names.join(', ') : `${want.kind} ${want.names[0]}`
}

const link = {
  want: null, // { kind: user | room | channel, names, clientId, replay }
  state: 'offline',
  socket: null,
  opened: false, // The socket in hand was open once.
  everLive: false, // This subscription was live once: what follows is a reconnection.
  attempt: 0,
  cursors: new Map(),
  timer: null,
  ticker: null,

  set(state, detail = '') {
    this.state = state
    $('badge').dataset.state = state
    $('badge-text').textContent = detail || STATE_TEXT[state]
    $('who').textContent = this.want && state !== 'offline' ? titleOf(this.want) : ''
    $('badge-wait').textContent = ''
    $('retry-now').hidden = state !== 'reconnecting'
    $('disconnect').disabled = state === 'offline' || state === 'error'
    $('empty-title').textContent = state === 'live' ? `Listening to ${titleOf(this.want)}` : 'No events yet'
    $('empty-text').textContent = state === 'live' ? 'Publish something, here or from a terminal: it shows up at once.'
      : state === 'reconnecting' ? 'The gateway cannot be reached. The page tries again by itself.'
      : 'Connect to see what is published, or run a sample workflow.'
    publisher.linkChanged()
  },

  query() {
    const { kind, names, clientId, replay } = this.want
    const query = new URLSearchParams()
    if (kind === 'user') query.set('username', names[0])
    if (kind === 'room') query.set('room', names[0])
    if (kind === 'room' && clientId) query.set('client_id', clientId)
    if (kind === 'channel') names.forEach((name) => query.append('channel', name))
    if (kind === 'channel' && this.cursors.size) query.set('since', names.map((name) => this.cursors.get(name) ?? '-').join(','))
    else if (replay && !this.everLive) query.set('since', 'begin')
    return query
  },

  connect(want) {
    this.drop()
    this.want = want
    this.cursors.clear()
    this.attempt = 0
    this.everLive = false
    this.open()
  },

  drop() {
    clearTimeout(this.timer)
    clearInterval(this.ticker)
    const socket = this.socket
    this.socket = null
    socket?.close(1000)
  },

  disconnect() {
    const was = this.state
    this.drop()
    this.set('offline')
    if (was === 'live') stream.notice(undefined, 'Disconnected.', `No longer listening to ${titleOf(this.want)}.`)
    this.want = null
  },

  open() {
    clearTimeout(this.timer)
    clearInterval(this.ticker)
    const url = new URL(`/ws?${this.query()}`, location.href)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    this.socket = socket
    this.opened = false
    this.set('connecting')
    socket.onopen = () => socket === this.socket && this.onOpen()
    socket.onmessage = (message) => socket === this.socket && this.onMessage(message.data)
    socket.onclose = (close) => socket === this.socket && this.onClose(close)
  },

  onOpen() {
    const again = this.everLive
    this.opened = true
    this.everLive = true
    this.attempt = 0
    this.set('live')
    figures.wake()
    if (this.want.kind === 'channel') return // The state notices tell more.
    stream.notice('ok', again ? `Live again as ${titleOf(this.want)}.` : `Live as ${titleOf(this.want)}.`,
      again ? 'A raw socket has no cursor, so what was published in between is not shown; the Channels tab resumes.' : '')
  },

  onClose(close) {
    const lost = this.opened
    this.socket = null
    if (FINAL[close.code]) {
      this.set('error', 'Closed')
      stream.notice('bad', `Closed by the gateway (${close.code}).`, FINAL[close.code])
      return
    }
    if (lost) stream.notice('warn', 'Connection lost.', close.code === 1012 ? 'The gateway is restarting.' : `Close code ${close.code}.`)
    if (!this.everLive && this.attempt === 0) this.explain()
    this.retry(close)
  },

  /** Full jitter (AWS): anywhere between nothing and the cap, later when the gateway says so. */
  retry(close) {
    const floor = Number(/\bretry_ms=(\d{1,6})/.exec(close?.reason ?? '')?.[1] ?? 0)
    const cap = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.attempt)
    const due = performance.now() + floor + Math.random() * cap
    this.attempt++
    this.set('reconnecting')
    const show = () => {
      const seconds = Math.ceil((due - performance.now()) / 1000)
      $('badge-wait').textContent = seconds > 0 ? `in ${seconds} s` : ''
    }
    show()
    this.ticker = setInterval(show, 250)
    this.timer = setTimeout(() => this.open(), due - performance.now())
  },

  /** A browser does not say why a handshake was refused; the same request without upgrade does. */
  async explain() {
    const want = this.want
    try {
      const reply = await fetch(`/ws?${this.query()}`, { cache: 'no-store' })
      if (reply.status !== 400 || want !== this.want) return
      const message = await errorSentence(reply)
      this.drop()
      this.set('error')
      chooser.note(message, 'bad')
    } catch { /* Nobody there: trying again is all there is to do. */ }
  },

  onMessage(data) {
    const channel = channelsOf(this.want)[0]
    if (typeof data !== 'string') {
      const bytes = new Uint8Array(data)
      stream.event(channel, undefined, { line: `${formatBytes(bytes.length)} of binary: ${hex(bytes)}` })
    } else if (this.want.kind !== 'channel') {
      stream.event(channel, undefined, describePayload(data))
    } else {
      this.onFrame(data)
    }
  },

  onFrame(text) {
    const frame = JSON.parse(text)
    if (frame.gap) return this.onGap(frame.gap)
    if (frame.cursor) this.cursors.set(frame.channel, frame.cursor)
    if (frame.state) return this.onState(frame)
    if (!('data' in frame)) return
    if (frame.enc === 'base64') {
      const bytes = Uint8Array.from(atob(frame.data), (c) => c.charCodeAt(0))
      return stream.event(frame.channel, frame.cursor, { line: `${formatBytes(bytes.length)} of binary: ${hex(bytes)}` })
    }
    const payload = frame.enc === 'text' ? { line: frame.data, json: false } : describePayload(memberSource(text, 'data'))
    stream.event(frame.channel, frame.cursor, payload)
  },

  onState({ channel, state, cursor }) {
    const told = {
      live: ['ok', 'nothing was missed'],
      replayed: ['ok', 'here is all that was missed'],
      reset: ['warn', 'history no longer reaches back to where this page was; some events may be missing']
    }[state] ?? [undefined, '']
    stream.notice(told[0], `State: ${state}.`, `${channel} at ${cursor}${told[1] ? `: ${told[1]}` : ''}.`)
  },

  onGap({ channel, from, to, reason }) {
    const count = to - from + 1
    stream.notice('bad', `Gap: ${formatCount(count)} ${count === 1 ? 'event' : 'events'} missed.`,
      `${channel}, offsets ${from} to ${to}${reason ? `, because: ${reason}` : ''}.`)
  },

  start() {
    $('retry-now').addEventListener('click', () => this.open())
    addEventListener('online', () => this.state === 'reconnecting' && this.open())
  }
}

// --- connecting ---------------------------------------------------------------------------------

/** Arrow keys, Home and End move through a tab list; chosen(id) hears of it. */
function tabs(list, chosen) {
  const all = [...list.querySelectorAll('[role=tab]')]
  const choose = (tab) => {
    for (const one of all) {
      one.setAttribute('aria-selected', String(one === tab))
      one.tabIndex = one === tab ? 0 : -1
    }
    chosen(tab)
  }
  for (const tab of all) tab.addEventListener('click', () => choose(tab))
  list.addEventListener('keydown', (event) => {
    const at = all.indexOf(document.activeElement)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key]
    if (at < 0 || to === undefined) return
    event.preventDefault()
    const tab = all[(to + all.length) % all.length]
    tab.focus()
    choose(tab)
  })
  return (id) => choose(all.find((tab) => tab.id === id))
}

const NAME_MAX = 255

function nameProblem(name, what) {
  if (!name) return `${what} is empty.`
  if (byteLength(name) > NAME_MAX) return `${what} has ${byteLength(name)} bytes; at most ${NAME_MAX} are possible.`
  return undefined
}

function channelProblem(channel) {
  const at = channel.indexOf(':')
  if (!/^[a-z0-9_-]{1,64}:/.test(channel)) return `“${channel}” is no channel; e.g. room:lobby or user:alice is.`
  return nameProblem(channel.slice(at + 1), `The part of “${channel.slice(0, 40)}” after the colon`)
}

const chooser = {
  kind: 'user',
  choose: null,
  hints: {}, // What each panel says when nothing is wrong.

  note(text, tone) {
    note($(`note-${this.kind}`), text ?? this.hints[this.kind], text && tone)
  },

  read() {
    const replay = $('replay').checked
    if (this.kind === 'channel') {
      const names = [...new Set($('channels').value.split('\n').map((line) => line.trim()).filter(Boolean))]
      const problem = names.length === 0 ? 'Name at least one channel, e.g. room:lobby.'
        : names.length > 100 ? `${names.length} channels; at most 100 are possible.`
        : names.map(channelProblem).find(Boolean)
      return { want: { kind: 'channel', names, replay }, problem, field: $('channels') }
    }
    const field = this.kind === 'user' ? $('username') : $('room')
    const name = field.value.trim()
    return {
      want: { kind: this.kind, names: [name], clientId: $('client-id').value.trim(), replay },
      problem: nameProblem(name, this.kind === 'user' ? 'The username' : 'The room'), field
    }
  },

  submit() {
    const { want, problem, field } = this.read()
    for (const one of [$('username'), $('room'), $('channels')]) one.removeAttribute('aria-invalid')
    this.note(problem, 'bad')
    if (problem) {
      field.setAttribute('aria-invalid', 'true')
      field.focus()
      return false
    }
    link.connect(want)
    publisher.follow(want)
    this.writeHash(want)
    return true
  },

  /** The address of this page, so that a second window can be opened with the same choice. */
  writeHash({ kind, names, clientId }) {
    const hash = new URLSearchParams(names.map((name) => [kind, name]))
    if (kind === 'room' && clientId) hash.set('as', clientId)
    history.replaceState(null, '', `#${hash}`)
  },

  readHash() {
    const hash = new URLSearchParams(location.hash.slice(1))
    const kind = ['user', 'room', 'channel'].find((one) => hash.has(one))
    if (!kind) return
    if (kind === 'user') $('username').value = hash.get('user')
    if (kind === 'room') $('room').value = hash.get('room')
    if (kind === 'room') $('client-id').value = hash.get('as') ?? ''
    if (kind === 'channel') $('channels').value = hash.getAll('channel').join('\n')
    this.choose(`tab-${kind}`)
    this.submit()
  },

  start() {
    for (const kind of ['user', 'room', 'channel']) this.hints[kind] = $(`note-${kind}`).textContent
    this.choose = tabs(document.querySelector('.connect [role=tablist]'), (tab) => {
      this.kind = tab.id.replace('tab-', '')
      for (const kind of ['user', 'room', 'channel']) $(`panel-${kind}`).hidden = kind !== this.kind
      this.note()
      commands.show()
    })
    $('connect-form').addEventListener('submit', (event) => { event.preventDefault(); this.submit() })
    $('disconnect').addEventListener('click', () => { link.disconnect(); $('connect').focus() })
    $('connect-form').addEventListener('input', () => commands.show())
    this.readHash()
  }
}

// --- publishing ---------------------------------------------------------------------------------

/** The sentence of an error reply, whatever shape it has. */
async function errorSentence(reply) {
  try {
    const { error } = await reply.json()
    return error?.message ?? `The gateway answered ${reply.status}.`
  } catch {
    return `The gateway answered ${reply.status} ${reply.statusText}`.trim() + '.'
  }
}

/** Publishes a payload, given as text; json: through /api/v1/publish, else as raw bytes. Returns the
 *  cursor (null when the broker gives none) or throws an Error with a sentence for people. */
async function publishPayload(channel, text, json = true) {
  let reply
  try {
    reply = json
      ? await fetch('/api/v1/publish', {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: `{"channel":${JSON.stringify(channel)},"data":${text}}`
      })
      : await fetch(`/api/v1/channels/${encodeURIComponent(channel)}`, {
        method: 'POST', headers: { 'content-type': 'text/plain; charset=utf-8' }, body: text
      })
  } catch {
    throw new Error('The gateway does not answer; nothing was published.')
  }
  if (!reply.ok) throw new Error(await errorSentence(reply))
  const result = (await reply.json()).results?.[0] ?? {}
  if (result.error) throw new Error(result.error.message)
  return result.cursor ?? null
}

const publisher = {
  touched: false, // The recipient was chosen by hand: connecting elsewhere leaves it.
  sending: false,

  channel() {
    const kind = $('to-kind').value
    const name = $('to-name').value.trim()
    return kind === 'channel' ? name : `${kind}:${name}`
  },

  problem() {
    const kind = $('to-kind').value
    const name = $('to-name').value.trim()
    return kind === 'channel' ? channelProblem(name) : nameProblem(name, 'The recipient')
  },

  format: () => document.querySelector('[name=format]:checked').value,

  /** Says whether the message can go, and returns that. */
  check() {
    const text = $('message').value
    const size = formatBytes(byteLength(text))
    let problem
    if (text.trim() === '') {
      problem = 'The message is empty.'
    } else if (this.format() === 'json' && !this.bySocket()) {
      try { JSON.parse(text) } catch (error) { problem = `Not JSON: ${error.message}` }
    }
    note($('message-check'), problem ?? (this.format() === 'json' && !this.bySocket() ? `Valid JSON, ${size}` : `Text, ${size}`), problem && 'bad')
    $('message').toggleAttribute('aria-invalid', false)
    if (problem) $('message').setAttribute('aria-invalid', 'true')
    return !problem
  },

  /** Only a member of the room can speak through its socket. */
  linkChanged() {
    const { want, state } = link
    const member = state === 'live' && want.kind === 'room' && this.channel() === `room:${want.names[0]}`
    $('by-socket').disabled = !member
    if (!member) $('by-socket').checked = false
    this.check()
  },

  bySocket: () => $('by-socket').checked && !$('by-socket').disabled,

  follow({ kind, names }) {
    if (!this.touched) {
      $('to-kind').value = kind
      $('to-name').value = names[0]
      this.linkChanged()
    }
    commands.show()
  },

  async submit() {
    const problem = this.problem()
    $('to-name').toggleAttribute('aria-invalid', false)
    if (problem) {
      $('to-name').setAttribute('aria-invalid', 'true')
      $('to-name').focus()
      note($('publish-result'), problem, 'bad')
      return
    }
    if (!this.check()) return $('message').focus()
    const text = $('message').value
    if (this.bySocket()) {
      link.socket.send(text)
      note($('publish-result'), 'Sent through the socket; the room’s answer is the message itself.', 'ok')
      return
    }
    if (this.sending) return
    this.sending = true
    const channel = this.channel()
    const started = performance.now()
    try {
      const cursor = await publishPayload(channel, text, this.format() === 'json')
      const ms = performance.now() - started
      note($('publish-result'), `Published${cursor ? ` at ${cursor}` : ''} in ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms.`, 'ok')
    } catch (error) {
      note($('publish-result'), error.message, 'bad')
    }
    this.sending = false
  },

  start() {
    $('publish-form').addEventListener('submit', (event) => { event.preventDefault(); this.submit() })
    $('publish-form').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.submit() }
    })
    for (const id of ['to-kind', 'to-name']) {
      $(id).addEventListener('input', () => { this.touched = true; this.linkChanged(); commands.show() })
    }
    $('publish-form').addEventListener('input', () => this.check())
    this.check()
  }
}

// --- figures ------------------------------------------------------------------------------------

/** Prometheus text as [{ name, labels, value }]. */
function parseMetrics(text) {
  const samples = []
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line)
    if (!match) continue
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g)].map((m) => [m[1], m[2]]))
    const value = match[3] === '+Inf' ? Infinity : Number(match[3])
    samples.push({ name: match[1], labels, value })
  }
  return samples
}

/** The sum over all labels of the first of these names that is there; undefined when none is. */
function total(samples, ...names) {
  for (const name of names) {
    const found = samples.filter((sample) => sample.name === name)
    if (found.length) return found.reduce((sum, sample) => sum + sample.value, 0)
  }
  return undefined
}

/** Cumulative buckets, added up over labels: sorted [[le, count]]. */
function buckets(samples, name) {
  const sums = new Map()
  for (const sample of samples) {
    if (sample.name !== `${name}_bucket`) continue
    const le = sample.labels.le === '+Inf' ? Infinity : Number(sample.labels.le)
    sums.set(le, (sums.get(le) ?? 0) + sample.value)
  }
  return [...sums].sort((a, b) => a[0] - b[0])
}

/** The q-quantile of what came between two scrapes, in seconds; null when nothing did. */
function quantile(now, before, q) {
  const counts = now.map(([le, count], i) => [le, count - (before[i]?.[1] ?? 0)])
  const all = counts.at(-1)?.[1] ?? 0
  if (!(all > 0)) return null
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

const first = (...values) => values.find((value) => Number.isFinite(value))

/** What the page shows, from /admin/stats and /metrics; either may lack members, or be absent. */
function readFigures(stats = {}, samples = []) {
  const books = stats.books ?? {}
  const dropped = books.dropped && Object.values(books.dropped).reduce((sum, count) => sum + count, 0)
  return {
    connections: first(stats.connections, total(samples, 'fanout_connections', 'clients')),
    users: first(stats.users, total(samples, 'fanout_users')),
    accepted: first(books.accepted, total(samples, 'fanout_deliveries_accepted_total')),
    delivered: first(books.delivered, total(samples, 'fanout_deliveries_delivered_total')),
    dropped: first(dropped, total(samples, 'fanout_deliveries_dropped_total', 'dropped_messages')),
    queued: first(books.queued + (books.pending ?? 0), total(samples, 'fanout_queued_messages')),
    broker: stats.broker?.type,
    buckets: buckets(samples, 'fanout_publish_to_write_seconds')
  }
}

const SVG = 'http://www.w3.org/2000/svg'

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}

/** The next of 1, 2, 5, 10, … that holds the value. */
function niceMax(value, least) {
  const wanted = Math.max(value, least)
  const power = 10 ** Math.floor(Math.log10(wanted))
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= wanted * 0.999)
}

/** A line plot of the last minute; a missing value interrupts its line. log: the scale begins there
 *  and goes by decades, so that a median stays visible beneath a tail. */
class Plot {
  constructor(figure, { series, area, format, least, log }) {
    Object.assign(this, { series, area, format, least, log })
    this.points = [] // { at: ms, values: [number | null] }, oldest first.
    this.chart = el('div', { class: 'chart' })
    this.svg = svg('svg', { viewBox: '0 0 600 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
    for (const y of [0, 50, 100]) this.svg.append(svg('line', { class: 'grid', x1: 0, x2: 600, y1: y, y2: y }))
    this.areaPath = area && svg('path', { class: `area ${series[0]}` })
    this.lines = series.map((name) => svg('path', { class: `line ${name}` }))
    this.cross = svg('line', { class: 'cross', y1: 0, y2: 100, visibility: 'hidden' })
    this.svg.append(...(area ? [this.areaPath] : []), ...this.lines, this.cross)
    this.maxLabel = el('span', { class: 'top-label' })
    this.tip = el('span', { class: 'tip', hidden: '' })
    this.chart.append(this.svg, this.maxLabel, ...(log ? [el('span', { class: 'bottom-label' }, format(log))] : []), el('span', { class: 'from' }, `${PLOT_SECONDS} s ago`), el('span', { class: 'now' }, 'now'), this.tip)
    figure.append(this.chart)
    this.chart.addEventListener('pointermove', (event) => this.point(event))
    this.chart.addEventListener('pointerleave', () => this.point(null))
    this.draw()
  }

  push(at, values) {
    this.points.push({ at, values })
    while (this.points.length && this.points[0].at < at - (PLOT_SECONDS + 2) * 1000) this.points.shift()
    this.draw()
  }

  x(at, now) { return 600 - (now - at) / (PLOT_SECONDS * 1000) * 600 }

  y(value, max) {
    const share = this.log ? Math.log(Math.max(value, this.log) / this.log) / Math.log(max / this.log) : value / max
    return 100 - share * 100
  }

  draw() {
    const now = this.points.at(-1)?.at ?? 0
    const values = this.points.flatMap((point) => point.values).filter((value) => value !== null)
    const most = Math.max(0, ...values)
    const max = this.log ? Math.max(this.least, 10 ** Math.ceil(Math.log10(most || this.least) - 1e-9)) : niceMax(most, this.least)
    this.maxLabel.textContent = this.format(max)
    this.lines.forEach((line, i) => {
      let path = ''
      let pen = false
      let last = null
      for (const point of this.points) {
        const value = point.values[i]
        if (value === null) { pen = false; continue }
        const x = this.x(point.at, now).toFixed(1)
        const y = this.y(value, max).toFixed(1)
        path += pen ? `L${x} ${y}` : `M${x} ${y}h.01` // A lone point is a dot.
        last = x
        pen = true
      }
      line.setAttribute('d', path)
      if (i === 0 && this.area) {
        const from = this.points.find((point) => point.values[0] !== null)
        this.areaPath.setAttribute('d', last ? `${path.replaceAll('h.01', '')}L${last} 100L${this.x(from.at, now).toFixed(1)} 100Z` : '')
      }
    })
  }

  point(event) {
    const now = this.points.at(-1)?.at
    let best
    if (event && now !== undefined) {
      const box = this.svg.getBoundingClientRect()
      const at = now - (1 - (event.clientX - box.left) / box.width) * PLOT_SECONDS * 1000
      best = this.points.reduce((a, b) => Math.abs(b.at - at) < Math.abs(a.at - at) ? b : a)
    }
    this.cross.setAttribute('visibility', best ? 'visible' : 'hidden')
    this.tip.hidden = !best
    if (!best) return
    const x = this.x(best.at, now)
    this.cross.setAttribute('x1', x)
    this.cross.setAttribute('x2', x)
    const told = best.values.map((value, i) => `${this.series.length > 1 ? `${this.series[i]} ` : ''}${value === null ? '–' : this.format(value)}`)
    this.tip.textContent = `${Math.round((now - best.at) / 1000)} s ago: ${told.join(', ')}`
  }
}

const figures = {
  before: [], // Earlier readings, oldest first, as far as quantiles look back.
  missing: new Set(), // Addresses this gateway does not serve.
  failures: 0,
  timer: null,
  rate: null,
  latency: null,
  broker: undefined, // "embedded" or "redis", as far as the gateway told.

  async get(path) {
    if (this.missing.has(path)) return undefined
    const reply = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(4000) })
    if (reply.status === 404) this.missing.add(path)
    return reply.ok ? reply.text() : undefined
  },

  async poll() {
    clearTimeout(this.timer)
    let next = FIGURES_MS
    if (!document.hidden) {
      try {
        const [stats, metrics] = await Promise.all([this.get('/admin/stats'), this.get('/metrics')])
        this.failures = 0
        this.show(readFigures(stats && JSON.parse(stats), metrics && parseMetrics(metrics)))
      } catch {
        this.failures++
        next = Math.min(5000, FIGURES_MS * 2 ** this.failures)
      }
      this.showHealth()
    }
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.poll(), next)
  },

  /** The gateway is back: no need to wait. */
  wake() {
    if (this.failures) this.poll()
  },

  showHealth() {
    document.querySelector('.figures').classList.toggle('stale', this.failures > 0)
    note($('figures-note'), this.failures ? 'The gateway does not answer; these are the last known.' : 'of this gateway, every second', this.failures ? 'bad' : undefined)
  },

  show(now) {
    now.at = performance.now()
    if (now.broker !== this.broker) {
      this.broker = now.broker
      commands.show()
    }
    const last = this.before.at(-1)
    for (const name of ['connections', 'users', 'accepted', 'delivered', 'dropped', 'queued']) {
      $(`f-${name}`).textContent = now[name] === undefined ? '–' : formatCount(now[name])
    }
    for (const name of ['dropped', 'queued']) $(`f-${name}`).parentElement.classList.toggle('alarm', now[name] > 0)
    if (last && now.delivered < last.delivered) this.before = [] // Restarted: it counts from zero again.
    if (this.before.length) this.showRates(now, this.before.at(-1))
    this.before.push(now)
    while (this.before[0].at < now.at - QUANTILE_SECONDS * 1000) this.before.shift()
  },

  showRates(now, last) {
    const rate = now.delivered === undefined ? null : (now.delivered - last.delivered) / (now.at - last.at) * 1000
    const recent = this.before[0].buckets
    $('f-rate').textContent = rate === null ? '–' : formatRate(rate)
    for (const [id, q] of [['f-p50', 0.5], ['f-p99', 0.99]]) {
      const value = quantile(now.buckets, recent, q)
      $(id).textContent = value === null ? '–' : formatSeconds(value)
    }
    this.rate.push(now.at, [rate])
    this.latency.push(now.at, [quantile(now.buckets, last.buckets, 0.5), quantile(now.buckets, last.buckets, 0.99)])
  },

  start() {
    this.rate = new Plot($('plot-rate'), { series: ['rate'], area: true, format: formatRate, least: 10 })
    this.latency = new Plot($('plot-latency'), { series: ['p50', 'p99'], format: formatSeconds, least: 1e-2, log: 1e-5 })
    document.addEventListener('visibilitychange', () => document.hidden || this.poll())
    this.poll()
  }
}

// --- try it -------------------------------------------------------------------------------------

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`

const commands = {
  which: 'curl',

  /** What the publish panel points at. */
  target() {
    return publisher.problem() ? { kind: 'user', name: 'alice', channel: 'user:alice' }
      : { kind: $('to-kind').value, name: $('to-name').value.trim(), channel: publisher.channel() }
  },

  curl() {
    const body = JSON.stringify({ channel: this.target().channel, data: { type: 'test', message: 'hello from curl' } })
    return [`curl -d ${quote(body)} ${location.origin}/api/v1/publish`, 'Publishes to whom the Publish panel names; shows the cursor.']
  },

  wscat() {
    const { kind, name, channel } = this.target()
    const query = new URLSearchParams([[{ user: 'username', room: 'room' }[kind] ?? 'channel', kind === 'channel' ? channel : name]])
    const address = `${location.origin.replace(/^http/, 'ws')}/ws?${query}`
    return [`npx wscat -c ${quote(address)}`, kind === 'room' ? 'A second member: what is typed there arrives here.' : 'Listens in a terminal to the same events.']
  },

  redis() {
    const { kind, name, channel } = this.target()
    const data = { type: 'test', message: 'hello from redis' }
    const [to, payload] = kind === 'room' ? [`room:${name}`, { room: name, from: 'redis-cli', data: 'hello from redis' }]
      : channel.startsWith('user:') ? [`workflow:events:${channel.slice(5)}`, data]
      : [`fanout:ch:${channel}`, data]
    const plain = /^[\w:@.-]+$/.test(to) ? to : quote(to)
    return [`redis-cli PUBLISH ${plain} ${quote(JSON.stringify(payload))}`,
      figures.broker === 'redis' ? 'The broker of this demo: what is published there arrives here.'
        : 'Heard once the demo runs on Redis: fanout demo --redis-host localhost. Its broker is embedded now.']
  },

  show() {
    const [text, hint] = this[this.which]()
    $('command-text').textContent = text
    $('command-note').textContent = hint
    $('copy').textContent = 'Copy'
  },

  async copy() {
    const text = $('command-text').textContent
    try {
      await navigator.clipboard.writeText(text)
      $('copy').textContent = 'Copied'
    } catch { // Not a secure context: select it, so that Ctrl+C does the rest.
      getSelection().selectAllChildren($('command-text'))
      $('copy').textContent = document.execCommand('copy') ? 'Copied' : 'Ctrl+C'
    }
    setTimeout(() => { $('copy').textContent = 'Copy' }, 1500)
  },

  start() {
    tabs(document.querySelector('.small-tabs'), (tab) => {
      this.which = tab.id.replace('cmd-', '')
      $('command').setAttribute('aria-labelledby', tab.id)
      this.show()
    })
    $('copy').addEventListener('click', () => this.copy())
    this.show()
  }
}

const runId = () => [...crypto.getRandomValues(new Uint8Array(6))].map((b) => b.toString(16).padStart(2, '0')).join('')
const seconds = () => Math.floor(Date.now() / 1000)

/** A run of two nodes, as the coordinator tells it. */
function sampleRun() {
  const run_id = `demo-${runId()}`
  const done = (node_id, counter) => () => ({ type: 'node_completed', run_id, node_id, status: 'completed', counter, result_ref: `sha256:${runId()}`, timestamp: seconds() })
  const started = performance.now()
  return [
    () => ({ type: 'workflow_started', run_id, tag: 'flight-search', nodes: 2, entry_nodes: 1, timestamp: seconds() }),
    done('search_flights', 1),
    done('rank_offers', 0),
    () => ({ type: 'workflow_completed', run_id, counter: 0, duration_ms: Math.round(performance.now() - started), timestamp: seconds() })
  ]
}

const trial = {
  /** The user the samples go to; the page listens as that user before they start. */
  async user() {
    if (link.want?.kind === 'user') return link.want.names[0]
    const name = $('username').value.trim()
    if (!link.want) {
      chooser.choose('tab-user')
      if (!chooser.submit()) throw new Error('Type a username first.')
      for (let i = 0; i < 20 && link.state === 'connecting'; i++) await sleep(50)
    }
    return name || 'alice'
  },

  async run(button, steps) {
    button.disabled = true
    try {
      note($('try-note'), await steps())
    } catch (error) {
      note($('try-note'), error.message, 'bad')
    }
    button.disabled = false
  },

  async workflow() {
    const user = await this.user()
    const events = sampleRun()
    for (const [i, event] of events.entries()) {
      note($('try-note'), `Publishing to user ${user}: ${i + 1} of ${events.length}`)
      await publishPayload(`user:${user}`, JSON.stringify(event()))
      if (i + 1 < events.length) await sleep(500)
    }
    return `Published ${events.length} events to user ${user}.`
  },

  async burst() {
    if (!link.want) await this.user()
    const channel = channelsOf(link.want)[0]
    const count = 100
    for (let n = 1; n <= count; n++) { // One by one: side by side they could overtake each other.
      await publishPayload(channel, JSON.stringify({ type: 'tick', n, of: count, timestamp: seconds() }))
      if (n % 10 === 0) note($('try-note'), `Publishing to ${channel}: ${n} of ${count}`)
    }
    return `Published ${count} messages to ${channel}.`
  },

  start() {
    $('sample').addEventListener('click', () => this.run($('sample'), () => this.workflow()))
    $('burst').addEventListener('click', () => this.run($('burst'), () => this.burst()))
  }
}

// --- workflows ----------------------------------------------------------------------------------

/** Shown where there is a coordinator. The run's events come to the user like all others. */
const flow = {
  async ask(path, options) {
    let response
    try {
      response = await fetch(path, { cache: 'no-store', ...options })
    } catch {
      throw new Error('The gateway does not answer.')
    }
    const answer = await response.json().catch(() => ({}))
    if (!response.ok) throw new Error(answer.error?.message ?? `The gateway answered ${response.status}.`)
    return answer
  },

  async fill() {
    $('flow-inputs').value = ''
    const { definition } = await this.ask(`/api/v1/workflows/${encodeURIComponent($('flow-tag').value)}`)
    $('flow-inputs').value = JSON.stringify(definition.example_inputs ?? {})
  },

  async run() {
    let inputs
    try {
      inputs = JSON.parse($('flow-inputs').value || '{}')
    } catch (error) {
      throw new Error(`The inputs are not JSON: ${error.message}`)
    }
    const user = await trial.user()
    const run = await this.ask('/api/v1/runs', {
      method: 'POST',
      // A header carries bytes, one a character here.
      headers: { 'Content-Type': 'application/json', 'X-User-ID': String.fromCharCode(...new TextEncoder().encode(user)) },
      body: JSON.stringify({ tag: $('flow-tag').value, inputs })
    })
    return `Run ${run.run_id} was started for user ${user}.`
  },

  async start() {
    $('flow-tag').addEventListener('change', () => this.fill().catch((error) => note($('try-note'), error.message, 'bad')))
    $('flow').addEventListener('submit', (event) => {
      event.preventDefault()
      trial.run($('flow-start'), () => this.run())
    })
    try {
      const { workflows } = await this.ask('/api/v1/workflows')
      if (workflows.length === 0) return
      $('flow-tag').replaceChildren(...workflows.map(({ tag }) => new Option(tag)))
      await this.fill()
      $('flow').hidden = false
    } catch { /* No coordinator, or not now: everything else works without. */ }
  }
}

// --- on the stage -------------------------------------------------------------------------------

link.start()
stream.start()
publisher.start()
commands.start()
chooser.start()
trial.start()
flow.start()
figures.start()
