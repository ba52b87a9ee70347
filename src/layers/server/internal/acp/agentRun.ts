/** A run of an agent elsewhere: its process, one session, one turn. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import { toJson } from "../../../../internal/json.ts"
import type { RunState } from "../../../../internal/runState.ts"
import { makeUsage } from "../../../../internal/usage.ts"
import { version } from "../../../../internal/version.generated.ts"
import type { Approved, Denied, Request } from "../../../../services/Approver.ts"
import { AcpAgentError } from "./acpError.ts"
import { filesOf, type Files } from "./agentFiles.ts"
import { decide, nameOf, optionOf, paramsOf, requestOf } from "./agentPermission.ts"
import { type Connection, open } from "./agentProcess.ts"
import type { Spec } from "./agentSpec.ts"
import { Steps } from "./agentSteps.ts"
import { type Terminals, terminalsOf } from "./agentTerminals.ts"
import { codes, refuse, type RpcFailure } from "./rpc.ts"
import {
  Chunk,
  Initialized,
  NewSession,
  Permission,
  Plan,
  Prompted,
  protocolVersion,
  reader,
  SessionUpdate,
  Tagged,
  ToolCall
} from "./schema.ts"

/** What a run knows while it is under way. */
interface Turn {
  readonly spec: Spec
  readonly state: RunState
  readonly steps: Steps
  readonly files: Files | undefined
  readonly terminals: Terminals | undefined
  /** Fails when the run cannot go on. */
  readonly broken: Deferred.Deferred<never, AcpAgentError>
  isCancelled: boolean
  /** Calls as they are known so far. */
  readonly calls: Map<string, ToolCall>
}

/** Runs the agent once. Interrupting it cancels its turn, and then ends its process with all that this has started. */
export const run = (spec: Spec, input: string, state: RunState): Effect.Effect<string, AcpAgentError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const turn: Turn = {
        spec,
        state,
        steps: new Steps(state),
        files: filesOf(spec),
        terminals: yield* terminalsOf(spec),
        broken: yield* Deferred.make<never, AcpAgentError>(),
        isCancelled: false,
        calls: new Map()
      }
      const broken = (error: AcpAgentError) => void Deferred.doneUnsafe(turn.broken, Effect.fail(error))
      const connection = yield* open<never>(
        spec,
        {
          request: (method, params) => answer(turn, method, params),
          notification: (method, params) => (method === "session/update" ? update(turn, params) : Effect.void)
        },
        broken
      )
      const work = Effect.flatMap(begun(turn, connection), (sessionId) => prompted(turn, connection, sessionId, input))
      const output = yield* Effect.raceFirst(work, Deferred.await(turn.broken)).pipe(
        Effect.tapError(() => turn.steps.finish)
      )
      yield* turn.steps.finish
      return output
    })
  )

const initialized = reader(Initialized)
const newSession = reader(NewSession)
const promptedOf = reader(Prompted)

/** Makes itself known, and makes a session. */
const begun = (turn: Turn, connection: Connection<never>): Effect.Effect<string, AcpAgentError> => {
  const { files, spec, terminals } = turn
  const { error, ofRpc, peer } = connection
  return Effect.gen(function* () {
    const said = yield* peer
      .request("initialize", {
        protocolVersion,
        clientCapabilities: {
          fs: { readTextFile: files !== undefined, writeTextFile: files !== undefined && spec.files?.write === true },
          terminal: terminals !== undefined
        },
        clientInfo: { name: "troupe", version }
      })
      .pipe(
        Effect.flatMap(initialized),
        Effect.mapError((given) => ofRpc(given, "it was greeted"))
      )
    if (said.protocolVersion !== protocolVersion) {
      return yield* Effect.fail(error("unsupported", `It speaks version ${said.protocolVersion} of ACP, and not 1.`))
    }
    const { sessionId } = yield* peer.request("session/new", { cwd: spec.cwd, mcpServers: [] }).pipe(
      Effect.flatMap(newSession),
      Effect.mapError((given) => ofRpc(given, "it was asked for a session"))
    )
    return sessionId
  }).pipe(
    Effect.timeoutOrElse({
      duration: spec.startMs,
      orElse: () => Effect.fail(error("slow", `It made no session within ${spec.startMs} ms.`))
    })
  )
}

/** Sends the input, and waits for the end of the turn. */
const prompted = (turn: Turn, connection: Connection<never>, sessionId: string, input: string) =>
  Effect.gen(function* () {
    const { error, ofRpc, peer } = connection
    const asking = peer.request("session/prompt", { sessionId, prompt: [{ type: "text", text: input }] }).pipe(
      Effect.flatMap(promptedOf),
      Effect.mapError((given) => ofRpc(given, "it worked"))
    )
    // The answer to a cancelled turn says that the agent has stopped: it is waited for a while.
    const fiber = yield* Effect.forkScoped(asking)
    const cancel = Effect.suspend(() => {
      turn.isCancelled = true
      return Effect.andThen(
        peer.notify("session/cancel", { sessionId }),
        Effect.timeoutOption(Fiber.await(fiber), turn.spec.graceMs)
      )
    })
    const ended = yield* Effect.onInterrupt(Fiber.join(fiber), () => cancel)
    bill(turn.state, ended)
    return yield* outcome(turn, error, ended.stopReason)
  })

const outcome = (
  turn: Turn,
  error: Connection<never>["error"],
  reason: string
): Effect.Effect<string, AcpAgentError> => {
  switch (reason) {
    case "end_turn":
      return Effect.map(turn.steps.finish, () => turn.steps.text)
    case "refusal":
      return Effect.fail(error("refused", "It refused to go on."))
    case "max_tokens":
      return Effect.fail(error("stopped", "Its answer reached the limit of tokens."))
    case "max_turn_requests":
      return Effect.fail(error("stopped", "It reached its limit of model calls for a turn."))
    default:
      return Effect.fail(error("stopped", `It stopped (${reason.slice(0, 100)}).`))
  }
}

const bill = ({ bill }: RunState, { usage }: typeof Prompted.Type): void => {
  if (usage === undefined || usage === null) return
  const of = (value: number | null | undefined) =>
    typeof value === "number" && value >= 0 ? Math.trunc(value) : undefined
  const output = of(usage.outputTokens)
  const reasoning = of(usage.thoughtTokens)
  bill.addUsage(
    makeUsage({
      inputTokens: {
        uncached: undefined,
        total: of(usage.inputTokens),
        cacheRead: of(usage.cachedReadTokens),
        cacheWrite: of(usage.cachedWriteTokens)
      },
      outputTokens: { total: output, text: undefined, reasoning }
    })
  )
}

const sessionUpdate = reader(SessionUpdate)
const tagged = reader(Tagged)
const chunk = reader(Chunk)
const plan = reader(Plan)
const toolCall = reader(ToolCall)

/** Takes an update. One that cannot be read is left out: it may be of a newer version. */
const update = (turn: Turn, params: unknown): Effect.Effect<void> =>
  Effect.gen(function* () {
    const given = (yield* sessionUpdate(params)).update
    switch ((yield* tagged(given)).sessionUpdate) {
      case "agent_message_chunk":
        return yield* said(turn, "Text", given)
      case "agent_thought_chunk":
        return yield* said(turn, "Reasoning", given)
      case "plan":
        return yield* turn.steps.take({ _tag: "Plan", plan: (yield* plan(given)).entries as unknown as Schema.Json })
      case "tool_call":
      case "tool_call_update":
        return yield* called(turn, yield* toolCall(given))
    }
  }).pipe(Effect.ignore)

const said = (turn: Turn, _tag: "Text" | "Reasoning", given: unknown) =>
  Effect.flatMap(chunk(given), ({ content }) => {
    const delta = content.type === "text" ? (content.text ?? "") : ""
    return delta === "" ? Effect.void : turn.steps.take({ _tag, delta })
  })

/** A tool call begins, or goes on. */
const called = ({ calls, steps }: Turn, given: ToolCall): Effect.Effect<void> =>
  Effect.gen(function* () {
    const id = given.toolCallId
    const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== undefined))
    const call: ToolCall = { ...calls.get(id), ...set, toolCallId: id }
    calls.set(id, call)
    if (!steps.knows(id)) yield* steps.take({ _tag: "Call", id, tool: nameOf(call), params: paramsOf(call) })
    if (call.status === "completed" || call.status === "failed") {
      calls.delete(id)
      return yield* steps.take({ _tag: "Outcome", id, isFailure: call.status === "failed", result: resultOf(call) })
    }
    if (given.content !== undefined && given.content !== null && given.content.length > 0) {
      yield* steps.take({ _tag: "Progress", id, result: resultOf(given) })
    }
  })

/** How many characters of a result are kept. */
const maxResult = 256 * 1024

const resultOf = ({ content, rawOutput }: ToolCall): Schema.Json => {
  if (rawOutput !== undefined && rawOutput !== null) {
    const json = toJson(rawOutput)
    const text = JSON.stringify(json)
    return text.length <= maxResult ? json : `${text.slice(0, maxResult)}...`
  }
  const texts = (content ?? []).map((one) =>
    one.type === "diff"
      ? `changed ${one.path ?? "a file"}`
      : (one.content?.text ?? `[${one.content?.type ?? one.type}]`)
  )
  return texts.join("\n").slice(0, maxResult)
}

const permission = reader(Permission)

/** Answers what the agent asks for. */
const answer = (turn: Turn, method: string, params: unknown): Effect.Effect<object, RpcFailure> => {
  const { files, terminals } = turn
  switch (method) {
    case "session/request_permission":
      return Effect.flatMap(permission(params), (asked) => permitted(turn, asked))
    case "fs/read_text_file":
      return files === undefined ? unknown(method) : files.read(params)
    case "fs/write_text_file":
      if (files === undefined) return unknown(method)
      return Effect.flatMap(files.write(params), ({ path, run }) =>
        Effect.andThen(allowed(turn, "edit", method, { path }), run)
      )
    case "terminal/create":
      if (terminals === undefined) return unknown(method)
      return Effect.flatMap(terminals.asked(params), (asked) => {
        const { args, command, cwd } = asked
        return Effect.andThen(allowed(turn, "execute", method, { command, args, cwd }), terminals.create(asked))
      })
    default:
      return terminals !== undefined && /^terminal\/(output|wait_for_exit|kill|release)$/.test(method)
        ? terminals.use(method, params)
        : unknown(method)
  }
}

const unknown = (method: string) => refuse(codes.unknownMethod, `There is no "${method.slice(0, 100)}" here.`)

/** What the agent does through this program has to pass the policies of this program, too. */
const allowed = (turn: Turn, kind: string, name: string, rawInput: object): Effect.Effect<void, RpcFailure> => {
  const toolCallId = `${name}/${globalThis.crypto.randomUUID()}`
  return Effect.flatMap(decide(requestOf(turn.state, { toolCallId, kind, name, rawInput }), false), (decision) => {
    if (decision._tag === "Approved") return Effect.void
    if (decision._tag === "Later") giveUp(turn, name)
    return refuse(codes.invalidParams, decision._tag === "Denied" ? decision.reason : "It was not decided.")
  })
}

const cancelled = { outcome: { outcome: "cancelled" } }

/** Puts a question of the agent to the approvers. */
const permitted = (turn: Turn, asked: typeof Permission.Type): Effect.Effect<object, RpcFailure> =>
  Effect.gen(function* () {
    if (turn.isCancelled) return cancelled
    yield* called(turn, { ...asked.toolCall, status: null })
    const call = turn.calls.get(asked.toolCall.toolCallId) ?? asked.toolCall
    const request = requestOf(turn.state, call)
    const { steps } = turn
    yield* steps.take({ _tag: "Asked", id: call.toolCallId, approvalId: request.id, params: request.params })
    const decision = yield* decide(request, true)
    if (decision._tag === "Later") {
      giveUp(turn, request.tool)
      return cancelled
    }
    return yield* decided(turn, asked, request, decision)
  })

const decided = (turn: Turn, asked: typeof Permission.Type, request: Request, decision: Approved | Denied) =>
  Effect.gen(function* () {
    const wanted = decision._tag === "Approved"
    const optionId = optionOf(asked, wanted)
    // An agent that offers only to be allowed forever is not: nothing here can take that back.
    const approved = wanted && optionId !== undefined
    const reason =
      decision._tag === "Denied" ? decision.reason : approved ? undefined : "the agent offers no permission for once"
    yield* turn.steps.take({
      _tag: "Answered",
      id: request.toolCallId,
      approved,
      ...(reason === undefined ? {} : { reason })
    })
    return optionId === undefined ? cancelled : { outcome: { outcome: "selected", optionId } }
  })

/** The run cannot wait for a decision that is made elsewhere: the process would have to wait with it. */
const giveUp = ({ broken, spec }: Turn, tool: string): void => {
  const detail = `It asks for permission to use "${tool}", which nothing here decides.`
  Deferred.doneUnsafe(broken, Effect.fail(new AcpAgentError({ agent: spec.name, reason: "permission", detail })))
}
