// Chromium as people run it, without a sandbox (tests run as root) and without a word to the outside.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chromium } from 'playwright-core'

function find() {
  for (const name of [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean)) {
    try { return execFileSync('which', [name], { encoding: 'utf8' }).trim() } catch { /* the next one */ }
  }
  assert.fail('there is no chromium; ./dev setup installs it')
}

/** Opens a page in a fresh profile; page.problems collects console errors and exceptions. options: of
 *  the browser context, e.g. colorScheme, viewport. */
export async function openPage(t, url, options = {}) {
  const browser = await chromium.launch({
    executablePath: find(), headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
  })
  t.after(() => browser.close())
  const page = await (await browser.newContext(options)).newPage()
  page.problems = []
  page.on('console', (message) => { if (message.type() === 'error') page.problems.push(message.text()) })
  page.on('pageerror', (error) => page.problems.push(String(error)))
  page.on('requestfailed', (request) => page.problems.push(`${request.url()}: ${request.failure()?.errorText}`))
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url())
    if (!['127.0.0.1', 'localhost'].includes(hostname) && !['data:', 'blob:'].includes(protocol)) page.problems.push(`asks the outside: ${request.url()}`)
  })
  await page.goto(url)
  return page
}
