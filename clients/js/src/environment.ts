/**
 * What the library needs of the world. Tests put a virtual clock, a seeded random and a scripted
 * network here; everybody else gets the platform's own.
 */

/** The part of WebSocket that browsers, Node 22+ and the package `ws` have in common. */
export interface WebSocketLike {
  readonly protocol: string
  binaryType: string
  onopen: ((event: any) => void) | null
  onmessage: ((event: { data: any }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onerror: ((event: any) => void) | null
  send(data: string): void
  close(code?: number, reason?: string): void
}

export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocketLike

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>

export type Timer = unknown

export interface Environment {
  /** Milliseconds on a clock that never goes back. */
  now(): number
  setTimeout(run: () => void, ms: number): Timer
  clearTimeout(timer: Timer): void
  /** 0 <= x < 1. */
  random(): number
  fetch: Fetch
  /** Without one, server-sent events and polling do the work. */
  WebSocket: WebSocketConstructor | undefined
  /** Calls back when waiting has become pointless: the network is back, the tab is looked at. */
  onWake(run: () => void): () => void
}

/** The platform's own, with what the caller brings instead. */
export function environment(own: Partial<Environment> = {}): Environment {
  const WebSocket = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket
  return {
    now: () => performance.now(),
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer as number | undefined),
    random: Math.random,
    fetch: (url, init) => globalThis.fetch(url, init),
    WebSocket,
    onWake,
    ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined))
  }
}

function onWake(run: () => void): () => void {
  if (typeof document === 'undefined') return () => {}
  const shown = () => { if (document.visibilityState === 'visible') run() }
  addEventListener('online', run)
  document.addEventListener('visibilitychange', shown)
  return () => {
    removeEventListener('online', run)
    document.removeEventListener('visibilitychange', shown)
  }
}
