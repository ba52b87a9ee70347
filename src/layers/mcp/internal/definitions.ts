/**
 * The definitions of a server's tools that the program accepted. Detects a tool whose definition has changed, which is
 * not used unless the program allows it.
 */
import { memoize } from "effect/Function"
import * as Struct from "effect/Struct"
import { hash } from "../../../internal/fingerprint.ts"
import { toJson } from "../../../internal/json.ts"
import type { ToolInfo } from "./lists.ts"

/** What happens to a tool whose definition has changed: it is left out, needs approval at each call, or is used. */
export type OnChange = "refuse" | "ask" | "accept"

/** The parts of a definition that a model or a policy relies on. */
const parts = ["name", "title", "description", "inputSchema", "outputSchema", "annotations", "execution"] as const

/** A text that is the same for definitions that say the same. */
export const fingerprint = memoize((info: ToolInfo): string => `sha256-${hash(toJson(Struct.pick(info, parts)))}`)

/** The definitions of one server's tools. */
export interface Definitions {
  /** Keeps the definition by which a tool is called, if it is the first one. */
  readonly use: (info: ToolInfo) => void
  /** How a tool may be used; `undefined`: as it is. */
  readonly changed: (info: ToolInfo) => Change | undefined
}

/** A tool that is not what it was. */
export interface Change {
  readonly onChange: OnChange
  /** A sentence about it. */
  readonly problem: string
}

/** Definitions that are `pinned`, by the tools' names, and those of tools that were called. */
export const make = (pinned: Readonly<Record<string, string>> = {}, onChange: OnChange = "refuse"): Definitions => {
  const used = new Map<string, string>()
  const outcome = {
    refuse: "it is left out",
    ask: "each call has to be approved",
    accept: "it is used as it is now"
  }[onChange]
  return {
    use: (info) => {
      if (!used.has(info.name) || onChange === "accept") used.set(info.name, fingerprint(info))
    },
    changed: (info) => {
      const isPinned = Object.hasOwn(pinned, info.name)
      const before = isPinned ? pinned[info.name] : used.get(info.name)
      if (before === undefined || before === fingerprint(info)) return undefined
      const what = isPinned ? "is not the pinned one" : "has changed since the tool was first called"
      return { onChange, problem: `the definition of its tool "${info.name}" ${what}: ${outcome}` }
    }
  }
}
