/**
 * Approvals: who decides whether a tool may run, how a decision is made later and elsewhere, and which input of a client
 * is accepted.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Prompt from "effect/ai/Prompt"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Terminal from "effect/Terminal"
import { captured, withCaptured } from "../../internal/captured.ts"
import { isSignedBy, sign } from "../../internal/fingerprint.ts"
import { assertOneOf, assertOptions, namesOf } from "../../internal/definition.ts"
import { InvalidDefinition } from "../../RunError.ts"
import {
  type About,
  type Approved,
  type Approver,
  CurrentApprover,
  CurrentSigning,
  type Decision,
  type Denied,
  floorKey,
  type Later,
  makeFloor,
  type ReadTool,
  type Request
} from "../../services/Approver.ts"
import * as ClientInput from "../internal/clientInput.ts"
import { assertRules, find, type Remember, remembering, type ToolRule } from "./internal/rules.ts"
import { ask } from "./internal/terminal.ts"

export { type Approved, Decision, type Denied, type Later, Request } from "../../services/Approver.ts"
export type { Pattern, Remember, ToolRule } from "./internal/rules.ts"
export { type ClientInputOptions, ForeignInput } from "../internal/clientInput.ts"

/** The tool runs with the arguments of the request. */
export const approve: Approved = { _tag: "Approved" }
/** The tool runs with these arguments instead. They are checked like the model's, and the model sees the change. */
export const approveWith = (params: Schema.Json): Approved => ({ _tag: "Approved", params })
/** The tool does not run, and the model gets the reason. */
export const deny = (reason: string): Denied => ({ _tag: "Denied", reason })
/** The decision is made elsewhere: the run fails with `RunSuspended`, from which it can be resumed. */
export const later: Later = { _tag: "Later" }

/**
 * Asks `decide` about every call of a tool with `needsApproval`, while the run waits. Without such a Layer, and for the
 * decision {@link later}, the run is suspended: it fails with `RunSuspended`, whose transcript is plain JSON, and goes
 * on with `Runner.answer`. In a run that goes on, `decide` is asked about calls that were approved before too: its decision
 * counts, and `later` leaves the earlier one in place. Interrupting the run interrupts `decide`.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Approvals, TestModel } from "troupe"
 *
 * const agent = Agent.make("agent", {})
 * const program = agent.run("Hello").pipe(
 *   Effect.provide(Approvals.layer((request) =>
 *     Effect.succeed(request.hints.readOnly ? Approvals.approve : Approvals.deny("only reading is allowed here"))
 *   )),
 *   Effect.provide(TestModel.layer(["Hello."]))
 * )
 */
export const layer = <R = never>(
  decide: (request: Request) => Effect.Effect<Decision, never, R>
): Layer.Layer<never, never, R> => layerPolicy({ declared: "ask" }, decide)

/** What happens to a call: it is made, an approver is asked, or it is denied. */
export type Rule = "allow" | "ask" | "deny"

/** Rules by what tools say about themselves; see `AgentTool.Hints`. Of the rules that apply the strictest counts. */
export interface Policy {
  /** For tools that only read. Default `"allow"`. */
  readonly readOnly?: Rule | undefined
  /** For tools that can destroy something, which is assumed of a tool without hints. Default `"allow"`. */
  readonly destructive?: Rule | undefined
  /** For tools that change something and destroy nothing. Default `"allow"`. */
  readonly additive?: Rule | undefined
  /**
   * For tools that reach out of their own system, such as `fetch_url`, which is assumed of a tool without hints. Data can
   * leave by any of them, also by one that only reads. Default `"allow"`.
   */
  readonly openWorld?: Rule | undefined
  /** For tools with `needsApproval`. Default `"ask"`. */
  readonly declared?: Rule | undefined
  /**
   * For dangerous tools, once the conversation has what others may have written: the result of an open-world tool, of a tool
   * of an MCP server that is not among `trusted`, or of a tool that the agent does not have any more. Dangerous are tools that
   * can destroy something, and those that change something out of their own system. Default `"allow"`.
   *
   * Calls of one step were asked for before their results were read, so they do not count for each other. In a program of code mode
   * what it has received counts. What it returns, and what an agent says that is a tool, counts if one of its tools does.
   */
  readonly afterUntrusted?: Rule | undefined
  /** Names of MCP servers, and of the program's own tools, whose results are trusted. Default: none. */
  readonly trusted?: { readonly servers?: ReadonlyArray<string>; readonly tools?: ReadonlyArray<string> } | undefined
}

/**
 * Decides by the hints of tools, for all tools, those of MCP servers too. `decide` is asked where a rule says
 * `"ask"`; without it the run is suspended (see {@link layer}). A rule that denies also denies a call that was approved
 * before.
 *
 * @example
 * import { Approvals } from "troupe"
 *
 * const careful = Approvals.layerPolicy({ destructive: "ask" })
 * const reading = Approvals.layerPolicy({ destructive: "deny", additive: "deny", declared: "deny" })
 */
export const layerPolicy = <R = never>(
  policy: Policy,
  decide?: (request: Request) => Effect.Effect<Decision, never, R>
): Layer.Layer<never, never, R> => {
  assertPolicy("Approvals.layerPolicy", policy)
  return Layer.effect(CurrentApprover, approverOf(policy, decide))
}

const policyNames = {
  readOnly: true,
  destructive: true,
  additive: true,
  openWorld: true,
  declared: true,
  afterUntrusted: true,
  trusted: true
} as const
const knownOfPolicy = namesOf<Policy>(policyNames)
const knownOfRules = namesOf<RulesOptions>({ ...policyNames, remember: true })
const knownOfTrusted = namesOf<NonNullable<Policy["trusted"]>>({ servers: true, tools: true })

/** Throws for what would allow a call that was meant to be denied. */
const assertPolicy = (subject: string, policy: Policy, known = knownOfPolicy): void => {
  assertOptions(subject, policy, known)
  const { trusted = {}, ...rules } = policy
  assertOptions(`trusted of ${subject}`, trusted, knownOfTrusted)
  for (const [name, rule] of Object.entries(rules)) {
    if (name !== "remember") assertOneOf(subject, name, rule, ["allow", "ask", "deny"])
  }
}

/** Options of {@link layerRules}. */
export interface RulesOptions extends Policy {
  /**
   * What of an approval by `decide` is remembered for the session (`Session.of`; elsewhere for the run): `"call"`, this tool
   * with these arguments, or `"tool"`. It is in the memory of the Layer, and denials are not remembered. Unset: nothing.
   */
  readonly remember?: Remember | undefined
}

/**
 * Decides by rules about tools and their arguments. Of the rules that fit a call, one that denies counts before one that asks,
 * and that before one that allows, in any order of the list. A call that none fits is decided by the {@link Policy} in the
 * options. `afterUntrusted` counts for calls that a rule allows as well, unless the rule names the tool in full and its
 * arguments.
 *
 * `decide` is asked where the answer is to ask; without it the run is suspended (see {@link layer}). A remembered approval
 * answers in its place, and its events are emitted like any other's. Throws `InvalidDefinition` for a rule that is misspelt.
 *
 * @example
 * import { Effect } from "effect"
 * import { Approvals } from "troupe"
 *
 * const Rules = Approvals.layerRules(
 *   [
 *     { rule: "deny", tool: "run_command", where: { command: "git", args: ["push", "**"] } },
 *     { rule: "allow", tool: "run_command", where: { command: "npm", args: ["test"] } },
 *     { rule: "ask", tool: "write_file", where: { path: ".github/*" } }
 *   ],
 *   { destructive: "ask", remember: "call" },
 *   () => Effect.succeed(Approvals.approve)
 * )
 */
export const layerRules = <R = never>(
  rules: ReadonlyArray<ToolRule>,
  options: RulesOptions = {},
  decide?: (request: Request) => Effect.Effect<Decision, never, R>
): Layer.Layer<never, never, R> => {
  assertRules(rules)
  assertPolicy("Approvals.layerRules", options, knownOfRules)
  const { remember } = options
  assertOneOf("Approvals.layerRules", "remember", remember, ["call", "tool"])
  return Layer.effect(
    CurrentApprover,
    Effect.map(approverOf(options, decide), (fallback): Approver => ({
      rule: (request, declared, about) => {
        const found = find(rules, request)
        if (found === undefined) return fallback.rule(request, declared, about)
        if (found.rule === "deny") return deny("a rule forbids this call")
        if (found.rule === "ask") return "ask"
        const isExact = found.tool === request.tool && found.where !== undefined
        if (isExact) return "allow"
        const after = untrustedRule(options, request, about)
        return after === "deny" ? deny(afterUntrustedReason) : after
      },
      decide: remember === undefined || decide === undefined ? fallback.decide : remembering(fallback.decide, remember)
    }))
  )
}

/**
 * A policy that no other Layer can lower. {@link layer}, {@link layerPolicy} and {@link layerTerminal} replace the approver
 * around them, as Layers do; a floor counts in addition to the approver, and every floor that is provided counts, in
 * any order. A call is made when none of them denies it and each one that asks has approved it. `decide` is asked
 * after the approver, and sees the arguments as the approver has changed them; without it, asking suspends the run.
 *
 * Rules that are unset are `"allow"`, also the one for tools with `needsApproval`.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Approvals, Runner } from "troupe"
 *
 * const trusting = Agent.make("agent", {}).pipe(Runner.provide(Approvals.layerPolicy({ declared: "allow" })))
 * const program = trusting.run("Clean up").pipe(Effect.provide(Approvals.floor({ destructive: "deny" })))
 */
export const floor = <R = never>(
  policy: Policy,
  decide?: (request: Request) => Effect.Effect<Decision, never, R>
): Layer.Layer<never, never, R> => {
  assertPolicy("Approvals.floor", policy)
  return Layer.effect(floorKey(), Effect.map(approverOf({ declared: "allow", ...policy }, decide), makeFloor))
}

const approverOf = <R>(
  policy: Policy,
  decide: ((request: Request) => Effect.Effect<Decision, never, R>) | undefined
): Effect.Effect<Approver, never, R> =>
  Effect.map(captured<R>(), (context) => ({
    rule: (request, declared, about) => {
      const { kind, rule } = ruleOf(policy, request, declared)
      if (rule === "deny") return deny(`the policy forbids ${kind} tools`)
      const after = untrustedRule(policy, request, about)
      if (after === "deny") return deny(afterUntrustedReason)
      return after === "ask" ? "ask" : rule
    },
    decide: (request) =>
      decide === undefined
        ? Effect.succeed(later)
        : withCaptured(
            Effect.suspend(() => decide(request)),
            context
          )
  }))

const afterUntrustedReason = "the policy forbids such tools after text of others was read"

/** The rule for a dangerous tool when text of others is in the conversation. Without a conversation to know of, it may be. */
const untrustedRule = ({ afterUntrusted = "allow", trusted = {} }: Policy, { hints }: Request, about?: About): Rule => {
  const isDangerous = hints.destructive || (hints.openWorld && !hints.readOnly)
  if (afterUntrusted === "allow" || !isDangerous) return "allow"
  const { servers = [], tools = [] } = trusted
  const isOfOthers = ({ hints, server, tool }: Omit<ReadTool, "holds">) => {
    if (server !== undefined) return !servers.includes(server)
    return !tools.includes(tool) && (hints === undefined || hints.openWorld)
  }
  const isUntrusted = (read: ReadTool) =>
    isOfOthers(read) || (!tools.includes(read.tool) && read.holds.some(isOfOthers))
  return about === undefined || about.hasResultOf(isUntrusted) ? afterUntrusted : "allow"
}

/** The strictest of the rules that apply, and the kind of tool that it is for. */
const ruleOf = (
  policy: Policy,
  { hints }: Request,
  declared: boolean
): { readonly rule: Rule; readonly kind: string } => {
  const [kind, byHint] = hints.readOnly
    ? (["read-only", policy.readOnly] as const)
    : hints.destructive
      ? (["destructive", policy.destructive] as const)
      : (["changing", policy.additive] as const)
  const applied: ReadonlyArray<{ readonly rule: Rule; readonly kind: string }> = [
    { kind, rule: byHint ?? "allow" },
    ...(hints.openWorld ? [{ kind: "open-world", rule: policy.openWorld ?? "allow" }] : []),
    ...(declared ? [{ kind: "approval-requiring", rule: policy.declared ?? "ask" }] : [])
  ]
  return applied.find(({ rule }) => rule === "deny") ?? applied.find(({ rule }) => rule === "ask") ?? applied[0]!
}

/**
 * Asks the person at the terminal, one request at a time: run it, do not run it and why, or change the arguments. Long
 * arguments are cut, and shown in full on demand. Quitting the prompt denies.
 *
 * @example
 * import { NodeTerminal } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { Approvals } from "troupe"
 *
 * const Approver = Approvals.layerTerminal.pipe(Layer.provide(NodeTerminal.layer))
 */
export const layerTerminal: Layer.Layer<never, never, Terminal.Terminal> = Layer.unwrap(
  Effect.gen(function* () {
    const terminal = yield* Terminal.Terminal
    const turn = yield* Semaphore.make(1)
    return layer((request) => turn.withPermits(1)(ask(terminal, request)))
  })
)

/**
 * Signs the requests of suspended runs, with any approver, and rejects unsigned ones: a run that is resumed fails
 * with `InvalidApproval` when a request or an answer in its transcript has no signature, or one that does not fit. The
 * signature (HMAC-SHA-256) stands for the id of the approval, the call and its arguments, the tool (server, name,
 * description, parameters, hints) and, for an agent that is a tool, the whole suspended conversation of that agent.
 *
 * - `secret`: at least 32 random characters, the same in every process that resumes the run. A run that was suspended
 *   without it, or under another one, cannot be resumed.
 *
 * An answer is bound to its request by the signature of the request. So `Runner.answer` takes no secret, and anyone who holds
 * the whole transcript can answer it: keep the transcript where only approvers can read it, show `Runner.pending` to others,
 * and take input of clients through {@link clientInput}. An answer can be used again: the tool detects it by `idempotencyKey`.
 *
 * Throws `InvalidDefinition` for a secret that is empty or not `Redacted`.
 *
 * @example
 * import { Config, Effect, Layer } from "effect"
 * import { Approvals } from "troupe"
 *
 * const Signing = Layer.unwrap(
 *   Effect.map(Config.Redacted("APPROVAL_SECRET"), (secret) => Approvals.signing({ secret }))
 * )
 */
export const signing = (options: { readonly secret: Redacted.Redacted<string> }): Layer.Layer<never> => {
  assertOptions("Approvals.signing", options, knownOfSigning)
  const { secret } = options
  const key: unknown = Redacted.isRedacted(secret) ? Redacted.value(secret) : undefined
  if (typeof key !== "string" || key === "") {
    throw new InvalidDefinition({
      subject: "Approvals.signing",
      problem: "its secret is not a Redacted text of at least one character",
      remedy: "Use Redacted.make(...) or Config.Redacted(...), with 32 random characters or more"
    })
  }
  return Layer.succeed(CurrentSigning, {
    sign: (payload) => sign(key, payload),
    verify: (payload, signature) => isSignedBy(key, payload, signature)
  })
}

const knownOfSigning: ReadonlySet<string> = new Set(["secret"])

/**
 * Validates the input of a client. A run trusts its input as it trusts the program: pass input of a client to a run only
 * through this function. User messages and texts of the assistant pass. System messages, approval requests and answers,
 * provider options, and calls and results that are not in `history` fail it with `ForeignInput`, which names the part; with
 * `foreign: "strip"` they are left out. Input that is not messages, or too much of it, fails it too.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Approvals } from "troupe"
 *
 * const agent = Agent.make("agent", {})
 * const reply = (body: { readonly messages: unknown }) => Effect.flatMap(Approvals.clientInput(body.messages), agent.run)
 */
export const clientInput = (
  input: unknown,
  options?: ClientInput.ClientInputOptions
): Effect.Effect<Prompt.Prompt, ClientInput.ForeignInput> => ClientInput.check(input, options)
