export function count(n: number | undefined): string {
  if (n === undefined) return '–'
  if (n < 1e6) return Math.round(n).toLocaleString('en-US')
  return n < 1e9 ? `${(n / 1e6).toFixed(2)} M` : `${(n / 1e9).toFixed(2)} G`
}

export function rate(n: number | undefined): string {
  return n !== undefined && n > 0 && n < 10 ? n.toFixed(1) : count(n)
}

/** A latency, from seconds. */
export function latency(seconds: number | undefined): string {
  if (seconds === undefined) return '–'
  if (seconds < 1e-3) return `${Math.max(1, Math.round(seconds * 1e6))} µs`
  if (seconds < 1) return `${(seconds * 1e3).toPrecision(seconds < 0.1 ? 2 : 3)} ms`
  return `${seconds.toPrecision(3)} s`
}

/** A duration as people read it, from milliseconds. */
export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`
  const minutes = Math.floor(ms / 60_000)
  return `${minutes} min ${Math.floor(ms / 1000) % 60} s`
}

const pad = (n: number, width = 2): string => String(n).padStart(width, '0')

export function clock(ms: number, millis = true): string {
  const date = new Date(ms)
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`
  return millis ? `${time}.${pad(date.getMilliseconds(), 3)}` : time
}

/** A UUID by the end that differs. */
export const shortId = (id: string): string => id.length > 12 ? `…${id.slice(-8)}` : id

/** A number behind ':' of 1..255 bytes, without control characters: wire.md, "Channel". Says what is wrong. */
export function nameProblem(what: string, name: string): string | undefined {
  const bytes = new TextEncoder().encode(name).length
  if (bytes === 0) return `The ${what} is empty.`
  if (bytes > 255) return `The ${what} has ${bytes} bytes; at most 255 are allowed.`
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return `The ${what} holds a control character.`
  return undefined
}
