/** Dark or light: as the system has it, or as chosen. */
import type { VNode } from "preact"
import { useState } from "preact/hooks"

const themes = ["auto", "light", "dark"] as const
type Theme = (typeof themes)[number]

const key = "troupe-theme"

const stored = (): Theme => {
  try {
    return themes.find((theme) => theme === localStorage.getItem(key)) ?? "auto"
  } catch {
    // A browser may refuse to keep anything.
    return "auto"
  }
}

const keep = (theme: Theme): void => {
  document.documentElement.dataset["theme"] = theme
  try {
    localStorage.setItem(key, theme)
  } catch {
    // It lasts as long as the page.
  }
}

/** Applies what was chosen before. */
export const applyTheme = (): void => keep(stored())

/** Goes from one to the next. */
export const ThemeButton = (): VNode => {
  const [theme, setTheme] = useState<Theme>(stored)
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "auto"
  return (
    <button
      type="button"
      class="theme"
      aria-label={`Theme: ${theme}. Change to ${next}`}
      onClick={() => {
        keep(next)
        setTheme(next)
      }}
    >
      {theme === "auto" ? "Auto" : theme === "light" ? "Light" : "Dark"}
    </button>
  )
}
