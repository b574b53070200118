import { ref } from 'vue'
import type { Api } from '@/api/api'
import { reasonOf } from '@/api/problem'
import type { Point } from '@/api/types'

const SHOWN_MS = 6000

/** Saves the gateway's own snapshot as a file: unlike a grab of the canvas, it is recorded. */
export function useSnapshot(api: Api, purpose: () => string | null) {
  const busy = ref(false)
  const problem = ref('')

  async function save(point: Point): Promise<void> {
    busy.value = true
    problem.value = ''
    try {
      download(await api.snapshot(point.id, purpose()), fileName(point.name, new Date()))
    } catch (error) {
      problem.value = reasonOf(error)
      setTimeout(() => (problem.value = ''), SHOWN_MS)
    } finally {
      busy.value = false
    }
  }

  return { busy, problem, save }
}

/** `name_20261121-193000.jpg`, with nothing that a file system refuses. */
export function fileName(name: string, at: Date): string {
  const two = (n: number) => String(n).padStart(2, '0')
  const day = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`
  const time = `${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`
  return `${name.replace(/[\\/:*?"<>|\s]+/g, '-')}_${day}-${time}.jpg`
}

function download(blob: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
