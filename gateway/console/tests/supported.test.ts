import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { CODEC } from '@/radio/patchVoice'

it('knows of each kind of radio system which voice it passes', () => {
  const supported = readFileSync('../../SUPPORTED.md', 'utf8')
  const kinds = [...supported.matchAll(/^\| \[(\w+)\]\(#\w+\) \| (?:trunk|ptt) \|/gm)]
  const passed = kinds.map(([, kind]) => {
    const section = supported.split(`\n## ${kind}\n`)[1]?.split('\n## ')[0] ?? ''
    return [kind, /^- Voice passes both ways, as `([^`]+)`/m.exec(section)?.[1] ?? null]
  })
  expect(passed.length).toBeGreaterThan(3)
  expect(CODEC).toEqual(Object.fromEntries(passed))
})
