import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createApp, nextTick, type App, type Component } from 'vue'
import { provideConsole, type Console } from '@/app'
import { Problem } from '@/api/problem'
import type { EventStream } from '@/api/stream'
import type { Channel, MemberTest, Patch, PatchChanges, PatchState, System } from '@/api/types'
import { i18n } from '@/i18n'
import PatchActions from '@/radio/PatchActions.vue'
import PatchEditor from '@/radio/PatchEditor.vue'
import { memberOf, newDraft, type PatchDraft } from '@/radio/patchDraft'
import { createRadio } from '@/radio/store'
import { channelOf, patchOf } from './patches'

type Sent = [what: string, id: string, version: number, body?: PatchChanges]
const idle: PatchState = {
  ...{ floor: 'idle', holder: null, queue: [], members: [], emergency: false, since: null },
}

/** The gateway of one test: what it was sent, and what it answers. */
class Gateway {
  sent: Sent[] = []
  refusals: Problem[] = []
  stored: Patch[] = []
  report: MemberTest[] = []
  items: Channel[] = [
    channelOf('a', { name: 'Command' }),
    channelOf('b', { name: 'Patrol', kind: 'ptt', system: 'z' }),
    channelOf('c', { name: 'Elsewhere', organization: { id: 'x', path: 'x', name: 'X' } }),
  ]

  private answer(...sent: Sent): Promise<Patch> {
    this.sent.push(sent)
    const refusal = this.refusals.shift()
    if (refusal) return Promise.reject(refusal)
    const [, id, version, body] = sent
    const patch = this.stored.find((each) => each.id === id) ?? patchOf({ id })
    return Promise.resolve({ ...patch, ...(body as Partial<Patch>), version: version + 1 })
  }

  systems = () =>
    Promise.resolve([
      { id: 's', name: 'DMR', adapter: 'homebrew' },
      { id: 'z', name: 'Phones', adapter: 'zello' },
    ] as System[])
  channels = () => Promise.resolve(this.items)
  patches = () => Promise.resolve(this.stored)
  patch = (id: string) => {
    const found = this.stored.find((each) => each.id === id)
    return found ? Promise.resolve(found) : Promise.reject(new Problem(404, 'Not Found'))
  }
  createPatch = (body: PatchChanges) => this.answer('create', 'new', 0, body)
  updatePatch = (id: string, version: number, body: PatchChanges) =>
    this.answer('update', id, version, body)
  deletePatch = (id: string, version: number) => this.answer('delete', id, version)
  testPatch = () => Promise.resolve({ members: this.report })
}

let app: App | null = null
let root: HTMLElement
let gateway: Gateway
const language = i18n.global.locale.value
const stream = { on: () => undefined, whenOpened: () => undefined } as unknown as EventStream
const may = (right: string, path: string) => right === 'dispatch' && path.startsWith('d')

async function mounted(component: Component, props: Record<string, unknown>) {
  const radio = createRadio(gateway as never, stream)
  await radio.load()
  const items = ['d', 'd/s'].map((path) => ({ id: path, path, name: path }))
  const organizations = { items: { value: items }, byId: { value: new Map() } }
  const parts = { api: gateway, radio, organizations, session: { may, me: { value: null } } }
  root = document.createElement('div')
  document.body.append(root)
  app = createApp(component, props).use(i18n)
  provideConsole(app, parts as unknown as Console)
  app.mount(root)
  await nextTick()
  return radio
}

const closed: boolean[] = []
const editing = (patch: Patch | null, start: PatchDraft = newDraft('')) =>
  mounted(PatchEditor, { patch, start, onClose: () => closed.push(true) })
const find = <T extends HTMLElement = HTMLInputElement>(test: string) =>
  root.querySelector(`[data-test=${test}]`) as T
const texts = (test: string) =>
  [...root.querySelectorAll(`[data-test=${test}]`)].map(({ textContent }) => textContent.trim())

async function settled() {
  for (let turn = 0; turn < 8; turn += 1) await nextTick()
}
async function write(test: string, value: string) {
  const field = find(test)
  field.value = value
  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'))
  await nextTick()
}
async function press(test: string) {
  find<HTMLElement>(test).click()
  await settled()
}
async function save() {
  root.querySelector('form')?.dispatchEvent(new Event('submit', { cancelable: true }))
  await settled()
}

beforeEach(() => {
  i18n.global.locale.value = 'en'
  gateway = new Gateway()
  closed.length = 0
})
afterEach(() => {
  app?.unmount()
  app = null
  root.remove()
  i18n.global.locale.value = language
})

describe('the form of a patch', () => {
  it('makes one of the channels it is given, and says that no voice passes between them', async () => {
    const radio = await editing(null, newDraft('d/s', ['a', 'b'].map(memberOf), 'Command + Patrol'))
    expect(texts('patch-member')).toHaveLength(2)
    expect(texts('patch-member-voice')).toEqual(['No voice', 'No voice'])
    expect(texts('voice-frames-means')[0]).toMatch(/^No voice passes/)
    await press('voice-silence')
    expect(texts('patch-member-voice')).toEqual([])
    await save()
    const [what, , , body] = gateway.sent[0] ?? []
    expect([what, body?.organization, body?.voice]).toEqual(['create', 'd/s', 'silence'])
    expect(body?.members?.map(({ channel }) => channel)).toEqual(['a', 'b'])
    expect(radio.patches.has('new')).toBe(true)
    expect(closed).toEqual([true])
  })

  it('finds members, and lets nobody join what they may not dispatch', async () => {
    await editing(null, newDraft('d/s', [memberOf('a')], 'x'))
    expect(texts('member-pick')).toHaveLength(2)
    await write('member-search', 'elsewhere')
    expect(find<HTMLButtonElement>('member-pick').disabled).toBe(true)
    await write('member-search', 'phones')
    await press('member-pick')
    expect(texts('patch-member')).toHaveLength(2)
  })

  it('says before it is refused that another patch keys a member', async () => {
    gateway.stored = [patchOf({ id: 'q', name: 'Night', members: [memberOf('b')] })]
    await editing(patchOf())
    expect(texts('member-taken')).toEqual(['In Night'])
  })

  it('sends what differs alone, with the version that was read', async () => {
    gateway.stored = [patchOf()]
    await editing(patchOf())
    expect(find<HTMLButtonElement>('patch-change').disabled).toBe(true)
    await write('patch-hang', '4')
    await save()
    expect(gateway.sent).toEqual([['update', 'p', 3, { hang_s: 4 }]])
  })

  it('keeps what was typed when somebody else was faster, and shows what they did', async () => {
    await editing(patchOf())
    await write('patch-name', 'Mine')
    gateway.stored = [patchOf({ version: 4, name: 'Theirs', queue: true })]
    gateway.refusals = [new Problem(412, 'Precondition Failed')]
    await save()
    expect(closed).toEqual([])
    expect(texts('patch-news')[0]).toMatch(/Somebody else.*Theirs.*yours is kept/)
    expect(find('patch-name').value).toBe('Mine')
    expect(find('patch-queue').checked).toBe(true)
    await save()
    expect(gateway.sent.at(-1)).toEqual(['update', 'p', 4, { name: 'Mine' }])
    expect(closed).toEqual([true])
  })

  it('says so when it is gone', async () => {
    await editing(patchOf())
    await write('patch-name', 'Mine')
    gateway.refusals = [new Problem(404, 'Not Found')]
    await save()
    expect(root.textContent).toContain('removed this patch meanwhile')
    expect(find<HTMLButtonElement>('patch-change').disabled).toBe(true)
  })

  it('shows each refusal at its field, and opens what hides one', async () => {
    await editing(patchOf())
    await write('patch-name', 'Mine')
    const reasons = { name: 'is odd', 'members[1].channel': 'is unknown', 'units.deny': 'too many' }
    const errors = Object.entries(reasons).map(([field, reason]) => ({ field, reason }))
    gateway.refusals = [new Problem(422, 'Unprocessable', 'all of it', null, errors)]
    await save()
    expect(texts('field-error')).toEqual(['is odd', 'is unknown', 'too many'])
    expect(find('patch-name').getAttribute('aria-invalid')).toBe('true')
    expect(document.activeElement).toBe(find('patch-name'))
    expect(root.querySelector('details')?.open).toBe(true)
    expect(root.textContent).toContain('see what is marked')
  })

  it('says what has no field, and which patch is in the way', async () => {
    gateway.stored = [patchOf({ id: 'q', name: 'Night' })]
    await editing(patchOf())
    await write('patch-name', 'Mine')
    const detail = 'this needs the role dispatcher'
    gateway.refusals = [
      new Problem(403, 'Forbidden', detail),
      new Problem(409, 'Conflict', 'taken', null, null, 'q'),
      new Problem(422, 'x', null, null, [{ field: 'moon', reason: 'is full' }]),
    ]
    await save()
    expect(texts('patch-editor')[0]).toContain(detail)
    await save()
    expect(texts('members-error')[0]).toContain('“Night”')
    await save()
    expect(texts('patch-editor')[0]).toContain('moon: is full')
  })

  it('asks nobody while something is missing', async () => {
    await editing(null, newDraft('d', [], ''))
    await write('patch-max-talk', '0')
    await save()
    expect(texts('field-error')).toEqual(['Is needed', 'Must be 1 to 3600'])
    expect(gateway.sent).toEqual([])
  })

  it('asks before it removes, and says whose talk ends', async () => {
    const holder = { channel: 'a', talker: 's/1', talker_alias: 'Li' }
    gateway.stored = [patchOf({ state: { ...idle, floor: 'taken', holder } })]
    const radio = await editing(patchOf())
    await press('patch-remove')
    expect(texts('patch-editor')[0]).toMatch(/2 channels.*Li talks in it now/)
    expect(gateway.sent).toEqual([])
    await press('patch-remove-yes')
    expect(gateway.sent).toEqual([['delete', 'p', 3]])
    expect(radio.patches.size).toBe(0)
  })

  it('leaves a member alone for which one may not speak', async () => {
    await editing(patchOf({ members: [memberOf('a'), memberOf('c'), memberOf('unseen')] }))
    const locked = [...root.querySelectorAll<HTMLSelectElement>('[data-test=member-direction]')]
    expect(locked.map(({ disabled }) => disabled)).toEqual([false, true, true])
  })

  it('does not lose to one key what was typed', async () => {
    await editing(patchOf())
    await write('patch-name', 'Mine')
    await press('patch-cancel')
    expect(closed).toEqual([])
    await press('patch-discard')
    expect(closed).toEqual([true])
  })
})

describe('what may be done with a patch where it stands', () => {
  const acting = (patch: Patch) => {
    gateway.stored = [patch]
    return mounted(PatchActions, { patch })
  }

  it('is switched with one press, and not against somebody else', async () => {
    const radio = await acting(patchOf())
    await press('patch-toggle')
    expect(gateway.sent).toEqual([['update', 'p', 3, { enabled: false }]])
    expect(radio.patches.get('p')).toMatchObject({ enabled: false, version: 4 })
    gateway.refusals = [new Problem(412, 'Precondition Failed')]
    gateway.stored = [patchOf({ version: 9, name: 'Theirs' })]
    await press('patch-toggle')
    expect(texts('patch-problem')[0]).toContain('Somebody else')
    expect(radio.patches.get('p')).toMatchObject({ version: 9, name: 'Theirs' })
  })

  it('is tested, and the report names echoes, loops and who did not answer', async () => {
    gateway.report = [
      { channel: 'a', outcome: 'done', reason: '', delay_ms: 12.3, echo_s: null, loops_to: [] },
      {
        ...{ channel: 'b', outcome: 'done', reason: '', delay_ms: 40, echo_s: 0.5 },
        loops_to: [{ channel: 'a', delay_s: 0.25 }],
      },
      { channel: 'c', outcome: 'no answer', reason: '', delay_ms: null, echo_s: null, loops_to: [] },
    ]
    await acting(patchOf({ state: idle }))
    await press('patch-test')
    const [first, second, third] = texts('tested')
    expect(first).toMatch(/Command.*12 ms.*no echo/)
    expect(second).toMatch(/40 ms.*Comes back after 0.50 s.*Comes out on Command \(0.25 s\)/)
    expect(third).toMatch(/Elsewhere.*No answer/)
  })

  it('cannot be tested while nothing runs it', async () => {
    await acting(patchOf({ state: null }))
    expect(find<HTMLButtonElement>('patch-test').disabled).toBe(true)
  })
})
