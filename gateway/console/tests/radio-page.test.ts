import { afterEach, describe, expect, it } from 'vitest'
import { createApp, type App, type Component } from 'vue'
import type { Api } from '@/api/api'
import type { EventStream } from '@/api/stream'
import type { Patch, PatchMemberState, PatchVoice, System, SystemState } from '@/api/types'
import { i18n } from '@/i18n'
import PatchCard from '@/radio/PatchCard.vue'
import { patchOf } from './patches'
import { createRadio } from '@/radio/store'
import SystemLine from '@/radio/SystemLine.vue'

let app: App | null = null
const language = i18n.global.locale.value

function shown(component: Component, props: Record<string, unknown>, locale: 'en' | 'zh-CN' = 'en') {
  i18n.global.locale.value = locale
  const root = document.createElement('div')
  app = createApp(component, props).use(i18n)
  app.mount(root)
  return root
}
const texts = (root: Element, selector: string) =>
  [...root.querySelectorAll(selector)].map(({ textContent }) => textContent.trim())

afterEach(() => {
  app?.unmount()
  i18n.global.locale.value = language
})

describe('a patch', () => {
  it('without members says so', () => {
    const empty = { ...patchOf({ name: 'P', voice: 'events' }), members: [] }
    const root = shown(PatchCard, { patch: empty, channels: new Map(), now: 0 })
    expect(texts(root, '[data-test=no-members]')).toEqual([
      'No channel is in it yet: edit it to add some.',
    ])
    expect(root.querySelector('ul')).toBeNull()
  })
})

describe('voice of a patch', () => {
  const member = (voice: PatchMemberState['voice']): PatchMemberState => ({
    ...{ channel: voice, keyed: false, missed: null, suspended: false, health: 'ok' },
    voice,
  })
  const members = [member('all'), member('some'), member('none')]
  const patch = (voice: PatchVoice): Patch => ({
    ...patchOf({ name: 'P', voice }),
    members: members.map(({ channel }) => ({ channel, direction: 'both', priority: 0 })),
    state: { floor: 'idle', holder: null, queue: [], members, emergency: false, since: null },
  })
  const card = (voice: PatchVoice, locale?: 'en' | 'zh-CN') =>
    shown(PatchCard, { patch: patch(voice), channels: new Map(), now: 0 }, locale)

  it.each([
    ['en', ['Voice with some', 'No voice']],
    ['zh-CN', ['仅与部分成员传语音', '不传语音']],
  ] as const)('is told of those whom it does not reach all of (%s)', (locale, words) => {
    const root = card('frames', locale)
    expect(texts(root, '[data-test=member]')).toHaveLength(3)
    expect(texts(root, '[data-test=member-voice]')).toEqual(words)
    expect(root.querySelector('[data-test=no-voice]')).toBeNull()
  })

  it.each(['silence', 'events'] as const)('is none in one of %s, said once', (voice) => {
    const root = card(voice)
    expect(texts(root, '[data-test=no-voice]').join()).toMatch(/^No voice passes\./)
    expect(texts(root, '[data-test=member-voice]')).toEqual([])
  })
})

const online: SystemState = {
  ...{ node: 'n', state: 'online', reason: '', since: null, last_heard: null, alarms: [] },
  outbox: { waiting: 0, oldest_s: 0, lost: 0, late: 0, fault: '' },
}
const system = (state: SystemState | null): System => ({ id: 's', name: 'S', enabled: true, state })

describe('a radio system', () => {
  const line = (state: SystemState | null) => shown(SystemLine, { system: system(state) })

  it('shows its state, and that nothing waits', () => {
    const root = line(online)
    expect(texts(root, '.status')).toEqual(['Online'])
    expect(texts(root, '[data-test=outbox]')).toEqual(['nothing waits to be stored'])
    expect(texts(root, '.tag')).toEqual([])
  })

  it('shows alarms, also of kinds that it does not know, what waits and what was lost', () => {
    const alarm = { reason: 'why', since: '2026-01-01T00:00:00.000Z' }
    const root = line({
      ...{ ...online, state: 'offline', reason: 'no answer' },
      alarms: ['outbox_waiting', 'new_kind'].map((kind) => ({ kind, ...alarm })),
      outbox: { waiting: 12, oldest_s: 125, lost: 3, late: 0, fault: '' },
    })
    expect(texts(root, '.status')).toEqual(['Offline'])
    expect(texts(root, '.tag')).toEqual(['Nobody stores them', 'new_kind', '3 lost'])
    expect(texts(root, '[data-test=outbox]')).toEqual(['12 to be stored, the oldest for 2:05'])
    expect(root.textContent).toContain('no answer')
  })

  it('says that nobody knows while no agent runs it', () => {
    const root = line({ ...online, node: null, state: 'unknown', outbox: null })
    expect(texts(root, '.status')).toEqual(['Unknown'])
    expect(root.textContent).toContain('no agent')
    expect(root.querySelector('[data-test=outbox]')).toBeNull()
  })

  it('shows nothing where the state is not known', () => {
    expect(line(null).querySelector('[data-test=system]')).toBeNull()
  })

  it('is asked again, and forgets a state that it cannot renew', async () => {
    const answers: (() => Promise<System[]>)[] = []
    const api = {
      systems: () => answers.shift()?.() ?? Promise.reject(new Error('gone')),
      channels: () => Promise.resolve([]),
      patches: () => Promise.resolve([]),
    } as unknown as Api
    const stream = { on: () => undefined, whenOpened: () => undefined } as unknown as EventStream
    const radio = createRadio(api, stream)
    answers.push(() => Promise.resolve([system(null)]))
    await radio.load()
    answers.push(() => Promise.resolve([system(online)]))
    await radio.askSystems()
    expect(radio.systems.get('s')?.state?.state).toBe('online')
    await radio.askSystems()
    expect(radio.systems.get('s')).toMatchObject({ name: 'S', state: null })

    let deliver: (items: System[]) => void = () => undefined
    answers.push(() => new Promise((resolve) => (deliver = resolve)))
    const asking = radio.askSystems()
    radio.clear()
    deliver([system(online)])
    await asking
    expect(radio.systems.size).toBe(0)
  })
})
