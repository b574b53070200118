import { describe, expect, it } from 'vitest'
import { SseParser } from '@/api/sse'

const TEXT =
  '\uFEFF: hello\n\nid: 7\nevent: channel\ndata: {"id":"c1",\ndata: "n":1}\n\ndata:plain\r\n\r\nevent: empty\n\nid\rdata: x\r\r'

describe('SseParser', () => {
  const expected = [
    { event: 'channel', data: '{"id":"c1",\n"n":1}', id: '7' },
    { event: 'message', data: 'plain', id: '7' },
    { event: 'message', data: 'x', id: '' },
  ]

  it('reads a whole stream', () => {
    expect(new SseParser().push(TEXT)).toEqual(expected)
  })

  it.each([1, 2, 3, 5, 7])('reads the same in pieces of %i', (size) => {
    const parser = new SseParser()
    const messages = []
    for (let i = 0; i < TEXT.length; i += size) messages.push(...parser.push(TEXT.slice(i, i + size)))
    expect(messages).toEqual(expected)
  })

  it('keeps back what has not ended', () => {
    const parser = new SseParser()
    expect(parser.push('data: half')).toEqual([])
    expect(parser.push(' done\n\n')).toEqual([{ event: 'message', data: 'half done', id: null }])
  })
})
