import { ref } from 'vue'

export const THEMES = ['auto', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]
const KEY = 'hutong.theme'

/** The chosen appearance; `dark` is what it comes to at present. */
export function createTheme() {
  const system = matchMedia('(prefers-color-scheme: dark)')
  const stored = localStorage.getItem(KEY) as Theme | null
  const theme = ref<Theme>(stored && THEMES.includes(stored) ? stored : 'auto')
  const dark = ref(false)

  function apply(): void {
    dark.value = theme.value === 'dark' || (theme.value === 'auto' && system.matches)
    document.documentElement.dataset.theme = dark.value ? 'dark' : 'light'
  }

  function next(): void {
    theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? 'auto'
    localStorage.setItem(KEY, theme.value)
    apply()
  }

  system.addEventListener('change', apply)
  apply()
  return { theme, dark, next }
}
