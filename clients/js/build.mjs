// Builds dist/ from src/ and nothing else, so that what was renamed or removed is not shipped.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
rmSync(`${here}dist`, { recursive: true, force: true })
execFileSync(`${here}node_modules/.bin/tsc`, ['-p', here], { stdio: 'inherit' })
