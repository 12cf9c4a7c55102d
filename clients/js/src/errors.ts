/** Every error of this library. `code` is the gateway's own where it named one. */
export class FanoutError extends Error {
  override readonly name = 'FanoutError'

  constructor(
    readonly code: string,
    message: string,
    /** HTTP status or WebSocket close code behind it, if there was one. */
    readonly status?: number,
    options?: ErrorOptions
  ) {
    super(message, options)
  }

  /** True when asking the same again would be refused again. */
  get final(): boolean {
    const { status } = this
    if (status === undefined) return false
    return status >= 400 && status < 500 && status !== 401 && status !== 408 && status !== 425 && status !== 429
  }
}

export function asFanoutError(error: unknown, code = 'unreachable'): FanoutError {
  if (error instanceof FanoutError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new FanoutError(code, message, undefined, { cause: error })
}

/** Hands an error of the application's own callback to the platform, past our state. */
export function reportAsync(error: unknown): void {
  queueMicrotask(() => { throw error })
}
