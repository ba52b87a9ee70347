/** A field for JSON. */
import type { VNode } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { type JsonSchema, parse } from "../model/input.ts"
import { isFocusFree, Problem } from "./parts.tsx"

/** JSON that is written, and what is wrong with it. */
export interface Written {
  readonly text: string
  readonly problem: string | undefined
  readonly setText: (text: string) => void
  readonly setProblem: (problem: string | undefined) => void
  /** Its value; `undefined` where it does not fit, which is said then. */
  readonly read: (schema?: JsonSchema) => { readonly value: unknown } | undefined
}

/** What is written in a field, from a text to begin with. */
export const useWritten = (initial: string | (() => string)): Written => {
  const [text, setText] = useState(initial)
  const [problem, setProblem] = useState<string>()
  return {
    text,
    problem,
    setProblem,
    setText: (next) => {
      setText(next)
      setProblem(undefined)
    },
    read: (schema) => {
      const parsed = parse(text, schema)
      if ("value" in parsed) return parsed
      setProblem(parsed.problem)
      return undefined
    }
  }
}

interface Props {
  readonly id: string
  readonly label: string
  readonly written: Written
  readonly placeholder?: string
}

/** The field. What waits for an answer takes the focus, where that is free. */
export const JsonField = ({ id, label, placeholder = "", written }: Props): VNode => {
  const { problem, setText, text } = written
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    if (isFocusFree()) area.current?.focus({ preventScroll: true })
  }, [])
  return (
    <>
      <label for={id}>{label}</label>
      <textarea
        id={id}
        ref={area}
        class="code"
        spellcheck={false}
        rows={Math.min(14, Math.max(3, text.split("\n").length))}
        value={text}
        placeholder={placeholder}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <Problem text={problem} />
    </>
  )
}
