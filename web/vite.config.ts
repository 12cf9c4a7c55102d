import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const client = (file: string): string => fileURLToPath(new URL(`./node_modules/fanout-client/src/${file}`, import.meta.url))
const GATEWAY = 'http://127.0.0.1:8084'

export default defineConfig({
  plugins: [react()],
  resolve: {
    // The client library from its sources, so that the page needs no second build and never shows a stale one.
    alias: [
      { find: /^fanout-client$/, replacement: client('index.ts') },
      { find: /^fanout-client\/react$/, replacement: client('react.ts') }
    ],
    dedupe: ['react', 'react-dom']
  },
  build: {
    outDir: '../build/web',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0 // A data: address would need a wider policy.
  },
  // `npm run dev`: the page from here, with reload; everything else from a running `fanout demo`.
  server: {
    proxy: {
      '/api': GATEWAY, '/admin': GATEWAY, '/metrics': GATEWAY, '/poll': GATEWAY, '/sse': GATEWAY, '/plain': GATEWAY,
      '/ws': { target: GATEWAY, ws: true }
    }
  }
})
