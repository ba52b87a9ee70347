/**
 * HTML to Markdown. `HttpTools` runs this module in a worker thread: there are pages small enough to send that take a
 * parser minutes, or gigabytes. It uses turndown and touches nothing else.
 */
import TurndownService from "turndown"

/** The page, and the address that its links are relative to. */
export interface Page {
  readonly html: string
  readonly base: string
}

const addressOf = (value: string | null, base: string): string | undefined => {
  if (value === null || !URL.canParse(value, base)) return undefined
  const url = new URL(value, base)
  return url.protocol === "http:" || url.protocol === "https:" ? url.href : undefined
}

export default ({ base, html }: Page): string => {
  const service = new TurndownService({ bulletListMarker: "-", codeBlockStyle: "fenced", headingStyle: "atx" })
  service.remove(["script", "style", "noscript", "iframe", "title", "head", "object", "canvas"])
  service.remove((node) => ["SVG", "TEMPLATE"].includes(node.nodeName.toUpperCase()))
  service.addRule("link", {
    filter: "a",
    replacement: (content, node) => {
      const href = addressOf(
        (node as unknown as { getAttribute(name: string): string | null }).getAttribute("href"),
        base
      )
      return content.trim() === "" || href === undefined ? content : `[${content}](${href})`
    }
  })
  service.addRule("image", {
    filter: "img",
    replacement: (_, node) => {
      const image = node as unknown as { getAttribute(name: string): string | null }
      const src = addressOf(image.getAttribute("src"), base)
      const alt = image.getAttribute("alt") ?? ""
      return src === undefined ? alt : `![${alt}](${src})`
    }
  })
  return service.turndown(html)
}
