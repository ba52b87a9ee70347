/**
 * Marks of tools beyond their definition, as annotations. Any tool can be given a name; only the code that makes a
 * tool can annotate it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import type * as Redacted from "effect/Redacted"

/** The MCP server that the tool belongs to, by the name that the program gave it. Default: the tool is the program's own. */
export const ServerName: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "troupe/ToolServerName",
  { defaultValue: () => undefined }
)

/** True for a tool that ends the run of the agent that calls it, such as a handoff. Default `false`. */
export const EndsRun: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolEndsRun", {
  defaultValue: () => false
})

/** How a tool hands the conversation over. */
export interface Handoff {
  /** The name of the agent that gets the conversation. */
  readonly to: string
  /** Whether the model is shown the tool in the step that begins. */
  readonly isOffered: Effect.Effect<boolean>
}

/** Set for a tool that `Handoffs.to` made. */
export const HandsOff: Context.Reference<Handoff | undefined> = Context.Reference<Handoff | undefined>(
  "troupe/ToolHandsOff",
  { defaultValue: () => undefined }
)

/**
 * True for a tool whose call is one run of a runner that can go on from the transcript of a suspended agent in it. Default
 * `false`.
 */
export const Resumable: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolResumable", {
  defaultValue: () => false
})

/** True for a tool that can be suspended with calls inside of it, and goes on from what it has kept. Default `false`. */
export const GoesOn: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolGoesOn", {
  defaultValue: () => false
})

/** The tools whose results can be in those of the tool: those that a program, or an agent that is a tool, can call. Default: none. */
export const Holds: Context.Reference<() => ReadonlyArray<Tool.Any>> = Context.Reference<() => ReadonlyArray<Tool.Any>>(
  "troupe/ToolHolds",
  { defaultValue: () => () => [] }
)

/** True for a tool that works in the `Sandbox` around the run. Default `false`. */
export const InSandbox: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolInSandbox", {
  defaultValue: () => false
})

/** True for a tool that the caller of the run runs. Default `false`. */
export const RunsAtClient: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolRunsAtClient", {
  defaultValue: () => false
})

/**
 * True for a tool whose work is in the program's memory, and so is done again when a run is made again by a journal. Default
 * `false`.
 */
export const InMemory: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolInMemory", {
  defaultValue: () => false
})

/**
 * True for a tool that a model need not be shown before the provider's own tool search has found it. A provider without one shows it.
 * Default `false`.
 */
export const Deferred: Context.Reference<boolean> = Context.Reference<boolean>("troupe/ToolDeferred", {
  defaultValue: () => false
})

/** A search of the web that the model's provider makes where it has one. */
export interface Search {
  readonly allowedDomains?: ReadonlyArray<string> | undefined
  readonly blockedDomains?: ReadonlyArray<string> | undefined
  /** How often one answer may search. */
  readonly maxUses?: number | undefined
  readonly location?: Location | undefined
  /** Whether the tool itself searches, for other providers. */
  readonly hasFallback: boolean
}

/** About where the user is. */
export interface Location {
  /** Two letters, such as `DE`. */
  readonly country?: string | undefined
  readonly region?: string | undefined
  readonly city?: string | undefined
  /** Such as `Europe/Berlin`. */
  readonly timezone?: string | undefined
}

/** Set for a tool in whose place a model's Layer puts the search of its provider, where that has one. */
export const SearchesWeb: Context.Reference<Search | undefined> = Context.Reference<Search | undefined>(
  "troupe/ToolSearchesWeb",
  { defaultValue: () => undefined }
)

/**
 * Arguments of a tool that its provider runs, which are secret: a model's Layer reveals them in the request, and keeps them out of
 * messages and tapes. Default: none.
 */
export const SecretArguments: Context.Reference<SecretFields> = Context.Reference<SecretFields>(
  "troupe/ToolSecretArguments",
  { defaultValue: () => ({}) }
)

/** Fields whose values are secret, or objects of such fields. */
export interface SecretFields {
  readonly [name: string]: Redacted.Redacted | SecretFields
}

/** Reads a mark of a tool. */
export const markOf = <A>(tool: Tool.Any, mark: Context.Reference<A>): A =>
  Context.get(tool.annotations as Context.Context<never>, mark)
