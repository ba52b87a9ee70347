/**
 * Finds the parts of a page that its readers do not see. Hidden text is the usual place for instructions to models.
 * Attributes and the page's own style sheets with simple selectors are considered; other style sheets are not fetched.
 */
import type { Element } from "./htmlElement.ts"

/** CSS without comments and escapes, in lower case. */
const plainCss = (css: string): string =>
  withoutComments(css)
    .replace(/\\([0-9a-f]{1,6})\s?/gi, (_, hex: string) => characterOf(Number.parseInt(hex, 16)))
    .replace(/\\(.)/g, "$1")
    .toLowerCase()

const withoutComments = (css: string): string => {
  const parts: Array<string> = []
  let at = 0
  for (let open = css.indexOf("/*"); open !== -1; open = css.indexOf("/*", at)) {
    parts.push(css.slice(at, open))
    const close = css.indexOf("*/", open + 2)
    at = close === -1 ? css.length : close + 2
  }
  return parts.join("") + css.slice(at)
}

const characterOf = (code: number): string => (code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : "")

const end = "\\s*(?:!\\s*important\\s*)?(?:;|$)"
const gone = new RegExp(`(?:^|;)\\s*(?:display\\s*:\\s*none|visibility\\s*:\\s*(?:hidden|collapse))${end}`)
/** Declarations that leave nothing to be seen, in the ways that are usual. */
const unseen: ReadonlyArray<RegExp> = [
  gone,
  new RegExp(`(?:^|;)\\s*(?:opacity|font-size)\\s*:\\s*0(?:\\.0*)?(?:%|[a-z]{1,4})?${end}`),
  new RegExp(
    `(?:^|;)\\s*(?:left|right|top|bottom|text-indent|margin-left)\\s*:\\s*-\\d{4,}(?:\\.\\d*)?[a-z]{2,4}${end}`
  ),
  /(?:^|;)\s*clip(?:-path)?\s*:\s*(?:rect\(\s*[01](?:px)?[\s,]|inset\(\s*(?:50|100)%)/
]

/** True for the style attribute of an element that cannot be seen. */
export const isHiddenByStyle = (style: string): boolean => {
  const css = plainCss(style.slice(0, 10_000))
  const isEmpty = /(?:^|;)\s*(?:max-)?(?:height|width)\s*:\s*[01](?:px)?\s*(?:;|$)/.test(css)
  return unseen.some((pattern) => pattern.test(css)) || (isEmpty && /(?:^|;)\s*overflow\s*:\s*hidden/.test(css))
}

/** Tests whether an element, and with it all that is in it, is hidden. It knows the style sheets of one page. */
export const hiddenElements = (): ((element: Element) => boolean) => {
  let hidden: ReadonlySet<string> | undefined
  return (element) => {
    hidden ??= hiddenSelectors(element)
    const popover = element.hasAttribute("popover")
    const attribute = element.hasAttribute("hidden") && element.getAttribute("hidden")?.toLowerCase() !== "until-found"
    if (attribute || popover || (element.nodeName === "DIALOG" && !element.hasAttribute("open"))) return true
    const style = element.getAttribute("style")
    if (style !== null && isHiddenByStyle(style)) return true
    return hidden.size > 0 && selectorsOf(element).some((selector) => hidden!.has(selector))
  }
}

const selectorsOf = (element: Element): ReadonlyArray<string> => {
  const name = element.nodeName.toLowerCase()
  const classes = (element.getAttribute("class") ?? "").split(/\s+/).filter((one) => one !== "")
  const id = element.getAttribute("id")
  return [...classes.map((one) => `.${one.toLowerCase()}`), ...(id === null ? [] : [`#${id.toLowerCase()}`])].flatMap(
    (one) => [one, name + one]
  )
}

const hiddenSelectors = (element: Element): ReadonlySet<string> => {
  const css = Array.from(element.ownerDocument.getElementsByTagName("style"), ({ textContent }) => textContent ?? "")
  return new Set(rulesOf(plainCss(css.join("\n").slice(0, 200_000))))
}

/** The selectors of a class or an id alone whose rules hide. Rules in `@media` and similar blocks hold for some readers only. */
const rulesOf = (css: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let depth = 0
  let prelude = ""
  let from = 0
  for (let at = 0; at < css.length; at++) {
    const character = css[at]
    if (character === "{") {
      if (depth++ === 0) prelude = css.slice(from, at)
      from = at + 1
    } else if (character === "}") {
      if (depth === 1 && gone.test(css.slice(from, at))) found.push(...prelude.split(","))
      depth = Math.max(0, depth - 1)
      from = at + 1
    }
  }
  return found.map((selector) => selector.trim()).filter((selector) => /^[a-z0-9]*[.#][\w-]+$/.test(selector))
}
