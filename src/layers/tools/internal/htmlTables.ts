/** Converts HTML tables to Markdown tables, so that a model sees which cell belongs where. */
import { memoize } from "effect/Function"
import { childElements, type Element } from "./htmlElement.ts"

/** The tables of a page that have been converted so far, from the inside out. */
export interface Tables {
  /** Keeps the content of a cell or caption, and returns its text outside of a Markdown table. */
  readonly keep: (content: string, element: Element) => string
  /** A table, all of whose cells were kept. */
  readonly print: (content: string, table: Element) => string
}

/** How many columns rows are filled up to: shorter rows are as good in longer tables. */
const maxFilled = 64
/** How many cells one table may get for cells that span others, and up to which column. */
const maxSpanned = 5000
const maxSpannedColumn = 1000
/** The longest text that is repeated in the further rows of a cell that spans them. */
const maxRepeated = 200

/** Makes the tables of one page. */
export const tables = (): Tables => {
  const contents = new WeakMap<Element, string>()
  const isKnownLayout = memoize(isForLayout)
  const isLayout = (table: Element | null): boolean => table === null || isKnownLayout(table)
  return {
    keep: (content, element) => {
      contents.set(element, content)
      return isLayout(tableOf(element)) ? `\n\n${content.trim()}\n\n` : content
    },
    print: (content, table) => {
      if (isLayout(table)) return `\n\n${content.trim()}\n\n`
      const caption = childElements(table).find(({ nodeName }) => nodeName === "CAPTION")
      const title = caption === undefined ? "" : (contents.get(caption) ?? "").trim()
      const text = print(table, (cell) => oneLine(contents.get(cell) ?? ""))
      return `\n\n${title === "" ? "" : `${title}\n\n`}${text}\n\n`
    }
  }
}

const tableOf = (element: Element): Element | null => {
  for (let at = element.parentNode; at !== null; at = at.parentNode) if (at.nodeName === "TABLE") return at
  return null
}

/** True for a layout table: it contains a table, has a single column, or has the role of one. */
const isForLayout = (table: Element): boolean => {
  if (["presentation", "none"].includes(table.getAttribute("role") ?? "")) return true
  if (table.getElementsByTagName("table").length > 0) return true
  return !Array.from(table.getElementsByTagName("tr")).some((row) => cellsOf(row).length > 1)
}

const cellsOf = (row: Element): ReadonlyArray<Element> =>
  childElements(row).filter(({ nodeName }) => nodeName === "TD" || nodeName === "TH")

/** The text of a cell, which has one line in Markdown, and in which a bar would begin the next cell. */
const oneLine = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join("<br>")
    .replaceAll("|", "\\|")

const print = (table: Element, textOf: (cell: Element) => string): string => {
  const elements = Array.from(table.getElementsByTagName("tr")).filter((row) => cellsOf(row).length > 0)
  const rows = gridOf(elements, textOf)
  const columns = rows.reduce((most, row) => Math.max(most, row.length), 0)
  const fill = (row: ReadonlyArray<string>): ReadonlyArray<string> =>
    columns <= maxFilled ? [...row, ...Array<string>(columns - row.length).fill("")] : row
  const line = (row: ReadonlyArray<string>): string => `| ${row.join(" | ")} |`
  const [first] = elements
  const hasHeader = first !== undefined && isHeader(first)
  const head = hasHeader ? rows[0]! : []
  const body = hasHeader ? rows.slice(1) : rows
  const header = [...head, ...Array<string>(columns - head.length).fill("")]
  return [header, header.map(() => "---"), ...body.map(fill)].map(line).join("\n")
}

const isHeader = (row: Element): boolean =>
  row.parentNode?.nodeName === "THEAD" || cellsOf(row).every(({ nodeName }) => nodeName === "TH")

/** The texts of a table by rows and columns, with cells that span several in each of their places. */
const gridOf = (
  rows: ReadonlyArray<Element>,
  textOf: (cell: Element) => string
): ReadonlyArray<ReadonlyArray<string>> => {
  const grid = rows.map((): Array<string | undefined> => [])
  let left = maxSpanned
  for (const [row, element] of rows.entries()) {
    let column = 0
    for (const cell of cellsOf(element)) {
      while (grid[row]![column] !== undefined) column++
      const text = textOf(cell)
      grid[row]![column] = text
      for (const [down, right] of placesOf(cell, left)) {
        left--
        const isBelow = down > 0 && right === 0
        put(grid[row + down], column + right, isBelow && text.length <= maxRepeated ? text : "")
      }
      column++
    }
  }
  return grid.map((row) => Array.from(row, (text) => text ?? ""))
}

/** The further places of a cell that spans several, by rows down and columns to the right. */
const placesOf = (cell: Element, most: number): ReadonlyArray<readonly [down: number, right: number]> => {
  const [width, height] = [spanOf(cell, "colspan"), spanOf(cell, "rowspan")]
  const places: Array<readonly [number, number]> = []
  for (let n = 1; n <= most && n < width * height; n++) places.push([Math.floor(n / width), n % width])
  return places
}

const put = (row: Array<string | undefined> | undefined, column: number, text: string): void => {
  if (row === undefined || row[column] !== undefined || column > maxSpannedColumn) return
  while (row.length < column) row.push(undefined)
  row[column] = text
}

const spanOf = (cell: Element, name: "colspan" | "rowspan"): number => {
  const span = Number.parseInt(cell.getAttribute(name) ?? "1", 10)
  return span >= 1 ? Math.min(span, 1000) : 1
}
