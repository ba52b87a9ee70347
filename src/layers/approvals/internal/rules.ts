/** Rules about calls by tool and arguments, and which approvals are remembered. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Predicate from "effect/Predicate"
import { assertOneOf, assertOptions, namesOf } from "../../../internal/definition.ts"
import { hash } from "../../../internal/fingerprint.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import type { Decision, Request } from "../../../services/Approver.ts"
import { ConversationId, CurrentRun } from "../../../services/CurrentRun.ts"

/**
 * What an argument must be: a text with `*` for any characters, which fits texts; a list of such texts, of which a last `"**"`
 * stands for any number of further ones; or a number, a boolean or `null`.
 */
export type Pattern = string | number | boolean | null | ReadonlyArray<string>

/** A rule about calls. What is unset fits everything. */
export interface ToolRule {
  readonly rule: "allow" | "ask" | "deny"
  /** The name of the tool, with `*` for any characters. */
  readonly tool?: string | undefined
  /** The MCP server of the tool; `false` for the program's own tools. */
  readonly server?: string | false | undefined
  /** Arguments by their names, with dots between names of nested ones; or a test of all arguments. */
  readonly where?: Readonly<Record<string, Pattern>> | ((params: Schema.Json) => boolean) | undefined
}

/** What of an approval is remembered for the session: this tool with these arguments, or this tool. */
export type Remember = "call" | "tool"

/** The rule for a call: of those that fit it, one that denies, or one that asks, or one that allows. */
export const find = (rules: ReadonlyArray<ToolRule>, request: Request): ToolRule | undefined => {
  const fitting = rules.filter((rule) => fits(rule, request))
  return (["deny", "ask", "allow"] as const)
    .map((kind) => fitting.find(({ rule }) => rule === kind))
    .find((rule) => rule !== undefined)
}

const fits = ({ server, tool, where }: ToolRule, request: Request): boolean => {
  if (tool !== undefined && !glob(tool)(request.tool)) return false
  if (server !== undefined && (server === false ? request.server !== undefined : server !== request.server))
    return false
  if (where === undefined) return true
  if (typeof where === "function") return where(request.params) === true
  return Object.entries(where).every(([name, pattern]) => fitsValue(pattern, valueAt(request.params, name)))
}

const valueAt = (params: Schema.Json, name: string): unknown => {
  let value: unknown = params
  for (const key of name.split(".")) {
    value = Predicate.isObject(value) && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
  }
  return value
}

const fitsValue = (pattern: Pattern, value: unknown): boolean => {
  if (typeof pattern === "string") return typeof value === "string" && glob(pattern)(value)
  if (!Array.isArray(pattern)) return value === pattern
  if (!Array.isArray(value) || value.some((one) => typeof one !== "string")) return false
  const isOpen = pattern.at(-1) === "**"
  const first = isOpen ? pattern.slice(0, -1) : pattern
  if (isOpen ? value.length < first.length : value.length !== first.length) return false
  return first.every((one, n) => glob(String(one))(String(value[n])))
}

/** Tests a text against one with stars, in time that does not explode. */
const glob = (pattern: string): ((text: string) => boolean) => {
  const [first = "", ...rest] = pattern.split("*")
  if (rest.length === 0) return (text) => text === first
  const last = rest.pop()!
  return (text) => {
    if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false
    let at = first.length
    for (const part of rest) {
      const found = text.indexOf(part, at)
      if (found === -1 || found + part.length > text.length - last.length) return false
      at = found + part.length
    }
    return at <= text.length - last.length
  }
}

/** How many sessions, and how many approvals of each, are remembered. */
const maxSessions = 1000
const maxApprovals = 1000

/** Remembers what was approved in a session, and approves it again without asking. */
export const remembering = (
  decide: (request: Request) => Effect.Effect<Decision>,
  what: Remember
): ((request: Request) => Effect.Effect<Decision>) => {
  const sessions = new Map<string, Set<string>>()
  const note = (session: string, key: string) => {
    const known = sessions.get(session) ?? new Set()
    sessions.delete(session)
    sessions.set(session, known.add(key))
    for (const [full, all] of [
      [sessions, sessions.size > maxSessions],
      [known, known.size > maxApprovals]
    ] as const) {
      if (all) full.delete(full.keys().next().value!)
    }
  }
  return (request) =>
    Effect.withFiber((fiber): Effect.Effect<Decision> => {
      const session = fiber.getRef(ConversationId) ?? fiber.getRef(CurrentRun)?.rootId
      const { description, fingerprint, hints, server, tool } = request
      const key = what === "call" ? fingerprint : hash([server ?? null, tool, description ?? null, hints])
      if (session !== undefined && sessions.get(session)?.has(key) === true) {
        return Effect.succeed({ _tag: "Approved" })
      }
      return Effect.tap(decide(request), (decision) =>
        Effect.sync(() => {
          // Arguments that were changed were approved for that call alone.
          if (session !== undefined && decision._tag === "Approved" && decision.params === undefined) note(session, key)
        })
      )
    })
}

const known = namesOf<ToolRule>({ rule: true, tool: true, server: true, where: true })

/** Throws for a rule that nothing can fit, or that fits what it was not meant for. */
export const assertRules = (rules: unknown): void => {
  const subject = "Approvals.layerRules"
  if (!Array.isArray(rules)) {
    const remedy = 'Write rules as { rule: "deny", tool: "run_command", where: { command: "rm" } }'
    throw new InvalidDefinition({ subject, problem: "its rules are not an array", remedy })
  }
  for (const [index, rule] of (rules as ReadonlyArray<Partial<ToolRule>>).entries()) {
    const own = `rule ${index + 1} of ${subject}`
    assertOptions(own, rule, known)
    assertOneOf(own, "rule", rule.rule ?? null, ["allow", "ask", "deny"])
  }
}
