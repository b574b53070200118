import { describe, expect, it } from 'vitest'
import { ref } from 'vue'
import type { Tour } from '@/api/types'
import { addable, changesOf, draftOf, groupsLocked, isEmpty, MOST_POINTS } from '@/live/tourDraft'
import { focusRow, moved } from '@/ui/order'

const tourOf = (hidden = 0): Tour => ({
  id: 't',
  version: 3,
  name: 'night',
  organization: { id: 'o', path: 'o', name: 'O' },
  dwell_s: 15,
  on_duty: false,
  groups: [
    { name: 'east', points: ['a', 'b'], hidden },
    { name: 'west', points: ['c'], hidden: 0 },
  ],
  hidden,
})

describe('the draft of a tour', () => {
  it('sends nothing but what differs', () => {
    const tour = tourOf()
    const draft = draftOf(tour)
    expect(changesOf(tour, draft)).toEqual({})
    draft.name = ' day '
    expect(changesOf(tour, draft)).toEqual({ name: 'day' })
    Object.assign(draft, { name: 'night', dwellS: 20, onDuty: true })
    expect(changesOf(tour, draft)).toEqual({ dwell_s: 20, on_duty: true })
  })

  it('leaves the tour alone while it changes', () => {
    const tour = tourOf()
    draftOf(tour).groups[0]?.points.push('z')
    expect(tour.groups[0]?.points).toEqual(['a', 'b'])
  })

  it('sends all groups when one is renamed, moved or has other points', () => {
    const tour = tourOf()
    const draft = draftOf(tour)
    draft.groups = moved(draft.groups, 1, -1)
    expect(changesOf(tour, draft)).toEqual({
      groups: [
        { name: 'west', points: ['c'] },
        { name: 'east', points: ['a', 'b'] },
      ],
    })
    const [first] = (draft.groups = draftOf(tour).groups)
    if (first) first.points = moved(first.points, 0, 1)
    expect(changesOf(tour, draft).groups?.[0]).toEqual({ name: 'east', points: ['b', 'a'] })
  })

  it('never sends groups of a tour with points that are not seen: they would be dropped', () => {
    const tour = tourOf(2)
    const draft = draftOf(tour)
    expect(groupsLocked(tour)).toBe(true)
    draft.groups = moved(draft.groups, 0, 1)
    draft.name = 'day'
    expect(changesOf(tour, draft)).toEqual({ name: 'day' })
  })

  it('knows a group that has no camera at all', () => {
    const group = { key: 0, name: 'g', points: [], hidden: 0 }
    expect(isEmpty(group)).toBe(true)
    expect(isEmpty({ ...group, hidden: 1 })).toBe(false)
    expect(isEmpty({ ...group, points: ['a'] })).toBe(false)
  })

  it('takes each point once, and no more than a wall has tiles', () => {
    expect(addable(['a'], ['a', 'b', 'b', 'c'])).toEqual(['b', 'c'])
    const nearly = Array.from({ length: MOST_POINTS - 1 }, (_, n) => `p${n}`)
    expect(addable(nearly, ['x', 'y'])).toEqual(['x'])
    expect(addable([...nearly, 'x'], ['y'])).toEqual([])
  })
})

describe('rows that are moved', () => {
  it('go where there is a place', () => {
    expect(moved(['a', 'b', 'c'], 0, 1)).toEqual(['b', 'a', 'c'])
    expect(moved(['a', 'b', 'c'], 2, -1)).toEqual(['a', 'c', 'b'])
    expect(moved(['a', 'b'], 0, -1)).toEqual(['a', 'b'])
    expect(moved(['a', 'b'], 1, 1)).toEqual(['a', 'b'])
    expect(moved(['a'], 7, -1)).toEqual(['a'])
  })

  it('keep the focus, on another button where theirs is at its end', async () => {
    const list = document.createElement('ol')
    const row = (up: boolean, down: boolean) =>
      `<li><button data-act="up"${up ? '' : ' disabled'}></button>` +
      `<button data-act="down"${down ? '' : ' disabled'}></button>` +
      `<button data-act="remove"></button></li>`
    list.innerHTML = row(false, true) + row(true, false)
    document.body.append(list)
    const focused = () => {
      const button = document.activeElement as HTMLElement
      return [[...list.children].indexOf(button.closest('li') as Element), button.dataset.act]
    }
    await focusRow(ref(list), 1, 'up')
    expect(focused()).toEqual([1, 'up'])
    await focusRow(ref(list), 0, 'up')
    expect(focused()).toEqual([0, 'down'])
    await focusRow(ref(list), 2, 'remove')
    expect(focused()).toEqual([1, 'remove'])
    list.remove()
  })
})
