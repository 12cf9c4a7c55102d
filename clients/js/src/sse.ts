/** Server-sent events (WHATWG HTML, 9.2), read from text in pieces of any size. */
export interface SseMessage {
  event: string
  data: string
}

/** A line longer than this is no event of ours. In characters. */
const LINE_MAX = 16 * 1024 * 1024

export class SseDecoder {
  #rest = ''
  #atStart = true
  #afterCr = false
  #event = ''
  #data: string[] = []
  /** The last `retry:`, ms. */
  retryMs = 0

  /** Takes the next piece and gives the messages it completed. */
  push(piece: string): SseMessage[] {
    const messages: SseMessage[] = []
    if (this.#atStart && piece.length) {
      this.#atStart = false
      if (piece.charCodeAt(0) === 0xfeff) piece = piece.slice(1)
    }
    // A CR that ended the last piece may have been half of a CRLF.
    if (this.#afterCr && piece.length) {
      this.#afterCr = false
      if (piece[0] === '\n') piece = piece.slice(1)
    }
    let from = 0
    for (let i = 0; i < piece.length; i++) {
      const char = piece[i]
      if (char !== '\n' && char !== '\r') continue
      this.#line(this.#rest + piece.slice(from, i), messages)
      this.#rest = ''
      if (char === '\r') {
        if (i + 1 === piece.length) this.#afterCr = true
        else if (piece[i + 1] === '\n') i++
      }
      from = i + 1
    }
    this.#rest += piece.slice(from)
    if (this.#rest.length > LINE_MAX) throw new RangeError('a line of the event stream is too long')
    return messages
  }

  #line(line: string, messages: SseMessage[]): void {
    if (line === '') {
      if (this.#data.length) messages.push({ event: this.#event || 'message', data: this.#data.join('\n') })
      this.#event = ''
      this.#data = []
      return
    }
    const colon = line.indexOf(':')
    if (colon === 0) return // A comment: a sign of life.
    const field = colon < 0 ? line : line.slice(0, colon)
    let value = colon < 0 ? '' : line.slice(colon + 1)
    if (value.startsWith(' ')) value = value.slice(1)
    if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#event = value
    else if (field === 'retry' && /^\d{1,7}$/.test(value)) this.retryMs = Number(value)
  }
}
