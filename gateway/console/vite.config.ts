import vue from '@vitejs/plugin-vue'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const gateway = process.env.HUTONG_CONSOLE_GATEWAY ?? 'http://127.0.0.1:8080'

export default defineConfig({
  base: '/',
  plugins: [vue()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_I18N_LEGACY_API__: false,
    __VUE_I18N_FULL_INSTALL__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
  },
  build: {
    target: 'es2022',
    // A closed network has no use for data: URLs that a strict policy would have to allow.
    assetsInlineLimit: 0,
    // MapLibre alone is about 1.1 MB; it is a chunk of its own, loaded with the map page.
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy: { '/api': { target: gateway, ws: true } } },
  test: {
    environment: 'happy-dom',
    include: ['tests/**/*.test.ts'],
    pool: 'threads',
    isolate: false,
  },
})
