/**
 * The part of the engine that is Effect's: `effect/workflow` on `effect/cluster`, with its messages and its leases in SQL.
 * Processes speak to each other through the database alone, so a node needs no address and no open port.
 */
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as ClusterWorkflowEngine from "effect/cluster/ClusterWorkflowEngine"
import * as EntityAddress from "effect/cluster/EntityAddress"
import * as EntityId from "effect/cluster/EntityId"
import * as EntityType from "effect/cluster/EntityType"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as MessageStorage from "effect/cluster/MessageStorage"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as SqlMessageStorage from "effect/cluster/SqlMessageStorage"
import * as SqlRunnerStorage from "effect/cluster/SqlRunnerStorage"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import * as WorkflowEngine from "effect/workflow/WorkflowEngine"
import type { Surroundings } from "./execution.ts"
import * as Execution from "./execution.ts"
import { persistence } from "./persist.ts"
import { keyText } from "./tables/rows.ts"

/** The tables of the engine begin with this. */
export const prefix = "troupe_cluster"

/** How quickly nodes find out about messages and about each other, in milliseconds. */
export interface Timing {
  /** How long the lease of a node lasts: after so long without a sign of it, its runs are taken over. */
  readonly lease: number
  /** How often a node looks for messages of other processes. */
  readonly poll: number
}

/** The services of one node, or of a process that executes nothing. */
export interface Node {
  readonly engine: WorkflowEngine.WorkflowEngine["Service"]
  readonly sharding: Sharding.Sharding["Service"]
  readonly messages: MessageStorage.MessageStorage["Service"]
  readonly runners: RunnerStorage.RunnerStorage["Service"]
}

/** The group of shards of a fingerprint: only nodes that host it hold its leases. */
export const groupOf = (fingerprint: string): string => `d${fingerprint.slice(0, 20)}`

const webDigest = Layer.succeed(Digest.Digest)({
  digest: (algorithm, data) => digest(algorithm, data),
  digestHex: (algorithm, data) => Effect.map(digest(algorithm, data), (bytes) => Buffer.from(bytes).toString("hex"))
})
const digest = (algorithm: Digest.Algorithm, data: Uint8Array): Effect.Effect<Uint8Array> =>
  algorithm.implementation !== undefined
    ? Effect.sync(() => algorithm.implementation!(data))
    : Effect.promise(async () => new Uint8Array(await crypto.subtle.digest(algorithm.name, new Uint8Array(data))))

/**
 * The client without connections that are kept for one use. A node keeps one for its leases, as those can be locks of a session; ours are
 * rows. So a process can execute more definitions than it has connections.
 */
const unreserved = (sql: SqlClient.SqlClient): SqlClient.SqlClient => {
  const each = <A, E>(use: (connection: Connection) => Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
    Effect.scoped(Effect.flatMap(sql.reserve, use))
  const connection: Connection = {
    execute: (text, params, transform) => each((one) => one.execute(text, params, transform)),
    executeRaw: (text, params) => each((one) => one.executeRaw(text, params)),
    executeStream: (text, params, transform) =>
      Stream.unwrap(Effect.map(sql.reserve, (one) => one.executeStream(text, params, transform))),
    executeUnprepared: (text, params, transform) => each((one) => one.executeUnprepared(text, params, transform)),
    executeValues: (text, params) => each((one) => one.executeValues(text, params)),
    executeValuesUnprepared: (text, params) => each((one) => one.executeValuesUnprepared(text, params))
  }
  const statement = (...args: Parameters<typeof sql>) => sql(...args)
  return Object.assign(statement, sql, { reserve: Effect.succeed(connection) }) as SqlClient.SqlClient
}

/** Statements are made again for so long as a database may be away. */
const insisting = persistence.pipe(Schedule.upTo({ duration: "10 minutes" }))

/**
 * The storage of messages, which writes the reply of a run until it is written. The engine gives up after a second, and then takes the
 * run for one that is under way for as long as the process lives.
 */
const insistent = (storage: MessageStorage.MessageStorage["Service"]): MessageStorage.MessageStorage["Service"] => ({
  ...storage,
  saveReply: (given) => {
    const { id, requestId } = given.reply
    const isStored = Effect.map(storage.repliesForUnfiltered([requestId]), (replies) =>
      replies.some((one) => one.id === String(id))
    )
    return storage.saveReply(given).pipe(
      Effect.catchTag("PersistenceError", (error) =>
        // It may have been written before the connection was lost.
        Effect.flatMap(isStored, (stored) => (stored ? Effect.void : Effect.fail(error)))
      ),
      Effect.retry({ schedule: insisting, while: (error) => error._tag === "PersistenceError" })
    )
  }
})

const messageStorage = Layer.effect(MessageStorage.MessageStorage)(
  Effect.map(MessageStorage.MessageStorage, insistent)
).pipe(Layer.provide(SqlMessageStorage.layerWith({ prefix })))

/** Builds a node for the definitions of `groups`, or, without an address, what a client needs. */
export const build = (
  sql: SqlClient.SqlClient,
  timing: Timing,
  node: { readonly address: string; readonly groups: ReadonlyArray<string> } | undefined
): Effect.Effect<Node, unknown, Scope.Scope> => {
  const lease = Duration.millis(timing.lease)
  const config = ShardingConfig.layer({
    runnerAddress: node === undefined ? Option.none() : Option.some(RunnerAddress.make(node.address, 1)),
    availableShardGroups: node?.groups ?? [],
    assignedShardGroups: node?.groups ?? [],
    shardsPerGroup: 32,
    shardLockExpiration: lease,
    // Leases are rows. The engine's advisory locks have numbers that it counts from the first group of each node, so that the
    // nodes of two definitions, each with one group, would take each other's.
    shardLockDisableAdvisory: true,
    shardLockRefreshInterval: Duration.millis(timing.lease * 0.3),
    // A client asks for the nodes where it needs them. A node notices with it that another has come or gone.
    refreshAssignmentsInterval: Duration.millis(Math.max(node === undefined ? 2000 : 500, timing.poll)),
    entityMessagePollInterval: Duration.millis(timing.poll),
    entityReplyPollInterval: Duration.millis(timing.poll),
    entityTerminationTimeout: Duration.millis(200),
    simulateRemoteSerialization: false
  })
  const layer = ClusterWorkflowEngine.layer.pipe(
    Layer.provideMerge(Sharding.layer),
    Layer.provide(Runners.layerNoop),
    Layer.provideMerge(messageStorage),
    Layer.provideMerge(SqlRunnerStorage.layerWith({ prefix })),
    Layer.provide(RunnerHealth.layerNoop),
    Layer.provide(config),
    Layer.provide(Layer.mergeAll(Layer.succeed(SqlClient.SqlClient)(unreserved(sql)), webDigest)),
    // Nodes come and go, and the engine warns of each.
    Layer.provide(Layer.succeed(References.MinimumLogLevel)("Error"))
  )
  return Effect.map(Layer.build(Layer.fresh(layer)), (context) => ({
    engine: Context.get(context, WorkflowEngine.WorkflowEngine),
    sharding: Context.get(context, Sharding.Sharding),
    messages: Context.get(context, MessageStorage.MessageStorage),
    runners: Context.get(context, RunnerStorage.RunnerStorage)
  }))
}

/** The workflow of a fingerprint. Its payload and result are empty: both are in our own tables. */
export const workflowOf = (fingerprint: string) => {
  const group = groupOf(fingerprint)
  return Workflow.make(`troupe/${group}`, {
    payload: {},
    idempotencyKey: () => "",
    success: Schema.Void
  }).annotate(ClusterSchema.ShardGroup, () => group)
}

/** What wakes a run. It is done once, and has no value: what the run is given is in our own tables. */
const deferredOf = (wake: string) => DurableDeferred.make(keyText(wake))

/** Has `node` execute the runs of a fingerprint for as long as the scope is open. */
export const register = (
  node: Node,
  fingerprint: string,
  surroundings: Omit<Surroundings, "isWoken" | "sleep">
): Effect.Effect<void, never, Scope.Scope> => {
  const { engine } = node
  const workflow = workflowOf(fingerprint)
  const body = (_payload: object, executionId: string) =>
    Effect.gen(function* () {
      const context = yield* Effect.context<WorkflowEngine.WorkflowInstance>()
      const instance = Context.get(context, WorkflowEngine.WorkflowInstance)
      const isWoken = (wake: string) =>
        engine.deferredResult(deferredOf(wake)).pipe(Effect.map(Option.isSome), Effect.provideContext(context))
      return yield* Execution.execute(executionId.split(".")[0]!, {
        ...surroundings,
        isWoken,
        sleep: (wakes) =>
          Effect.gen(function* () {
            // Registered before they are looked at, so that one which is done in between wakes the run.
            for (const wake of wakes) instance.awaitedDeferreds.set(keyText(wake), 1)
            for (const wake of wakes) {
              if (yield* isWoken(wake)) {
                instance.awaitedDeferreds.clear()
                return "ready" as const
              }
            }
            return yield* Workflow.suspend(instance)
          })
      })
    })
  return engine.register(workflow, body)
}

/** Does something with the execution of a run. */
export type Going = (node: Node, fingerprint: string, executionId: string) => Effect.Effect<void>

/** Asks the engine to execute a run. Asking again changes nothing. */
export const start: Going = (node, fingerprint, executionId) =>
  Effect.asVoid(
    node.engine.execute(workflowOf(fingerprint), { executionId, payload: {}, discard: true as const })
  ) as Effect.Effect<void>

/** Wakes a run that waits for this, or will. Waking it again changes nothing. */
export const waking =
  (name: string): Going =>
  (node, fingerprint, executionId) => {
    const workflow = workflowOf(fingerprint)
    return Effect.andThen(
      // The engine knows the shards of a workflow by its annotations, which it takes at the first call.
      node.engine.poll(workflow, executionId),
      node.engine.deferredDone(deferredOf(name), {
        workflowName: workflow._tag,
        executionId,
        deferredName: keyText(name),
        exit: Exit.void
      })
    )
  }

/**
 * Has a run that sleeps look again for what it waits for, and its messages read again. Where the database was away for a moment,
 * the engine can have woken the run before it went to sleep, and have lost a message that it had read, which it reads again
 * after ten minutes.
 */
export const rouse = (node: Node, fingerprint: string, executionId: string): Effect.Effect<void, unknown> =>
  node.engine
    .resume(workflowOf(fingerprint), executionId)
    .pipe(
      Effect.andThen(node.messages.resetAddress(addressOf(node, fingerprint, executionId))),
      Effect.andThen(node.sharding.pollStorage)
    )

/** Whether this node holds the lease of a run. */
export const isHeld = (node: Node, fingerprint: string, executionId: string): boolean =>
  node.sharding.hasShardId(node.sharding.getShardId(EntityId.make(executionId), groupOf(fingerprint)))

/** Removes what the engine keeps of a run. */
export const forget = (node: Node, fingerprint: string, executionId: string): Effect.Effect<void, unknown> =>
  node.messages.clearAddress(addressOf(node, fingerprint, executionId))

/** Where messages to a run go. */
const addressOf = (node: Node, fingerprint: string, executionId: string): EntityAddress.EntityAddress => {
  const entityId = EntityId.make(executionId)
  const shardId = node.sharding.getShardId(entityId, groupOf(fingerprint))
  const entityType = EntityType.make(`Workflow/${workflowOf(fingerprint)._tag}`)
  return EntityAddress.make({ entityType, entityId, shardId })
}

/** Interrupts the execution of a run in the process that has it. */
export const interrupt: Going = (node, fingerprint, executionId) =>
  node.engine.interruptUnsafe(workflowOf(fingerprint), executionId)
