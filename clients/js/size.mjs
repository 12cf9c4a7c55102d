// What a page pays: the minified bundle of each entry, gzipped. React is the page's own.
import { buildSync } from 'esbuild'
import { gzipSync } from 'node:zlib'

for (const entry of ['index', 'react']) {
  const { outputFiles } = buildSync({
    entryPoints: [new URL(`dist/${entry}.js`, import.meta.url).pathname],
    bundle: true, minify: true, format: 'esm', platform: 'browser', external: ['react'], write: false
  })
  const bytes = outputFiles[0].contents
  console.log(`${entry}: ${(gzipSync(bytes, { level: 9 }).length / 1024).toFixed(1)} KiB gzipped, ${(bytes.length / 1024).toFixed(1)} KiB minified`)
}
