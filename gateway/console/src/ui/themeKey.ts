import { inject, type InjectionKey } from 'vue'
import type { createTheme } from './theme'

export type ThemeChoice = ReturnType<typeof createTheme>
export const themeKey: InjectionKey<ThemeChoice> = Symbol('theme')

export function useTheme(): ThemeChoice {
  const theme = inject(themeKey)
  if (!theme) throw new Error('no theme above this component')
  return theme
}
