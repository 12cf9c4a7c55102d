import { FanoutError } from './errors.js'

/**
 * Between callbacks and `for await`: bounded, so that a loop that is stuck shows as an error in the
 * loop and not as memory.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T> {
  readonly #max: number
  readonly #onReturn: () => void
  #items: T[] = []
  #waiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void }[] = []
  #done = false
  #error: FanoutError | undefined

  constructor(max: number, onReturn: () => void = () => {}) {
    this.#max = max
    this.#onReturn = onReturn
  }

  push(item: T): void {
    if (this.#done) return
    const waiting = this.#waiting.shift()
    if (waiting) waiting.resolve({ value: item, done: false })
    else if (this.#items.length < this.#max) this.#items.push(item)
    else this.end(new FanoutError('slow_consumer', `${this.#max} events wait for this loop; it is too slow`))
  }

  /** What is queued is still read; then the loop ends, or throws. */
  end(error?: FanoutError): void {
    if (this.#done) return
    this.#done = true
    this.#error = error
    for (const waiting of this.#waiting.splice(0)) {
      if (error) waiting.reject(error)
      else waiting.resolve({ value: undefined, done: true })
    }
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#items.length) return Promise.resolve({ value: this.#items.shift()!, done: false })
    if (this.#done) {
      const error = this.#error
      this.#error = undefined
      return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true })
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  return(): Promise<IteratorResult<T>> {
    this.#items = []
    this.end()
    this.#onReturn()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
