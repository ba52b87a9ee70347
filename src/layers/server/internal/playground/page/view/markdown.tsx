/** Draws Markdown with elements of the page's own: no text of a model is ever read as HTML. */
import type { ComponentChildren, VNode } from "preact"
import { useMemo } from "preact/hooks"
import { type Block, type Inline, markdown } from "../model/markdown.ts"

/** A text as Markdown. */
export const Markdown = ({ text }: { readonly text: string }): VNode =>
  useMemo(() => <div class="prose">{markdown(text).map(drawBlock)}</div>, [text])

const drawInlines = (pieces: ReadonlyArray<Inline>): ComponentChildren => pieces.map(drawInline)

const drawInline = (piece: Inline): ComponentChildren => {
  switch (piece.kind) {
    case "text":
      return piece.text
    case "code":
      return <code>{piece.text}</code>
    case "strong":
      return <strong>{drawInlines(piece.children)}</strong>
    case "emphasis":
      return <em>{drawInlines(piece.children)}</em>
    case "link":
      return (
        <a href={piece.href} target="_blank" rel="noopener noreferrer nofollow" title={piece.href}>
          {drawInlines(piece.children)}
        </a>
      )
  }
}

const drawBlock = (block: Block): VNode => {
  switch (block.kind) {
    case "heading":
      return <p class={`heading level-${Math.min(block.level, 4)}`}>{drawInlines(block.children)}</p>
    case "paragraph":
      return <p>{drawInlines(block.children)}</p>
    case "code":
      return (
        <pre>
          <code>{block.text}</code>
        </pre>
      )
    case "quote":
      return <blockquote>{block.blocks.map(drawBlock)}</blockquote>
    case "rule":
      return <hr />
    case "list": {
      const items = block.items.map((blocks) => <li>{drawItem(blocks)}</li>)
      return block.start === undefined ? <ul>{items}</ul> : <ol start={block.start}>{items}</ol>
    }
    case "table":
      return <Table rows={block.rows} />
  }
}

/** An item of one line stands without a paragraph around it. */
const drawItem = (blocks: ReadonlyArray<Block>): ComponentChildren =>
  blocks.map((block) => (block.kind === "paragraph" ? <span>{drawInlines(block.children)}</span> : drawBlock(block)))

const Table = ({ rows }: { readonly rows: ReadonlyArray<ReadonlyArray<ReadonlyArray<Inline>>> }): VNode => {
  const [head = [], ...body] = rows
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            {head.map((cell) => (
              <th>{drawInlines(cell)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {body.map((row) => (
            <tr>
              {row.map((cell) => (
                <td>{drawInlines(cell)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
