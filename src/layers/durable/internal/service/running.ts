/** Runs begin, are waited for, are interrupted and tried again. */
import * as Effect from "effect/Effect"
import { hash } from "../../../../internal/fingerprint.ts"
import { DurableError } from "../../../../RunError.ts"
import * as Cluster from "../cluster.ts"
import type { Ended, Ref, Service } from "../engine.ts"
import type * as Tables from "../tables.ts"
import { prune } from "../upkeep.ts"
import { type Access, reaching } from "./access.ts"
import { close } from "./following.ts"

/** The functions of the service that change which runs there are. */
export const running = (
  access: Access
): Pick<Service, "submit" | "host" | "schedule" | "interrupt" | "retry" | "prune"> => {
  const { ask, client, hosts, known, live, now, nudge, start, stop, tables } = access
  return {
    submit: (kind, key, input) => submit(access, { ...kind, key }, input),
    host: (kind, execute, onUnknown) => live(reaching(hosts.add(kind, execute, onUnknown))),
    schedule: (kind, planned) => live(hosts.schedule(kind, planned)),
    interrupt: (ref) =>
      Effect.gen(function* () {
        const run = yield* known(ref)
        const at = yield* now
        if (!(yield* ask(ref.key, tables.interrupt(run.id, at)))) return
        // A process that executes it says so itself, with what was under way.
        if (run.state !== "running") yield* close(access, run)
        yield* live(nudge(run.id))
        yield* stop(run)
      }),
    retry: (ref) =>
      Effect.gen(function* () {
        const before = yield* known(ref)
        const at = yield* now
        if (yield* ask(ref.key, tables.isUndone(before.id))) return yield* wasUndone(ref)
        if (!(yield* ask(ref.key, tables.requeue(before.id, at)))) return yield* notEnded(ref, before)
        yield* start(yield* known(ref))
      }),
    prune: (before) => live(reaching(prune(tables, client, before)))
  }
}

/** The functions of the service that find runs. */
export const finding = (
  access: Access
): Pick<Service, "find" | "get" | "byId" | "isServed" | "ended" | "used" | "steps" | "list"> => {
  const { ask, client, find, known, tables } = access
  return {
    find,
    get: known,
    byId: (id) => ask("", tables.find(id)),
    isServed: ({ fingerprint }) => {
      const group = Cluster.groupOf(fingerprint)
      return Effect.map(reaching(client.runners.getRunners), (runners) =>
        runners.some(([runner, isHealthy]) => isHealthy && runner.groups.includes(group))
      )
    },
    ended: (ref, onUsed) => ended(access, ref, onUsed),
    used: (ref) =>
      Effect.flatMap(find(ref), (run) => (run === undefined ? Effect.undefined : ask(ref.key, tables.used(run.id)))),
    steps: (ref) => Effect.flatMap(known(ref), (run) => ask(ref.key, tables.stepsOf(run.id))),
    list: (query) => ask("", tables.list(query))
  }
}

const submit = (
  { ask, known, now, start, tables }: Access,
  ref: Ref & { readonly fingerprint: string },
  input: Tables.RunRow["input"]
): Effect.Effect<string, DurableError> =>
  Effect.gen(function* () {
    const { fingerprint, key, name } = ref
    const at = yield* now
    const inputHash = hash(input)
    // A run that comes after one of this key was removed is another one: its tools are not to take it for the first.
    const id = globalThis.crypto.randomUUID().replaceAll("-", "")
    yield* ask(key, tables.create({ id, name, key, fingerprint, input, inputHash, createdAt: at, updatedAt: at }))
    const run = yield* known(ref)
    if (run.inputHash !== inputHash) return yield* conflict(run)
    if (run.ended !== undefined) return run.id
    if (run.fingerprint !== fingerprint) return yield* changed(run)
    // Also for a run that is there: the process that kept it may have ended before it could start it.
    if (run.state === "queued") yield* start(run)
    return run.id
  })

const ended = (
  access: Access,
  ref: Ref,
  onUsed?: Parameters<Service["ended"]>[1]
): Effect.Effect<Ended, DurableError> =>
  Effect.gen(function* () {
    const { ask, changes, known, live, tables } = access
    while (true) {
      const run = yield* known(ref)
      const used = onUsed === undefined ? undefined : yield* ask(ref.key, tables.used(run.id))
      if (used !== undefined) onUsed?.(used)
      if (run.ended !== undefined) return run.ended
      yield* live(changes(run.id))
    }
  })

const conflict = (run: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "key-conflict",
    key: run.key,
    problem: `"${run.name}" was started with this key and another input`,
    remedy: "Make the key of what tells two runs apart"
  })

const changed = (run: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "definition-changed",
    key: run.key,
    problem: `this run of "${run.name}" was started with another definition, and has not ended`,
    remedy: "Let a worker with that definition finish it, or interrupt it and start it under another key"
  })

const wasUndone = ({ key }: Ref): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: "what this run had finished was undone when it failed, so it cannot go on from there",
    remedy: "Start another run under another key"
  })

const notEnded = ({ key }: Ref, { state }: Tables.RunRow): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: `this run is ${state}, so there is nothing to try again`,
    remedy: "Only a run that failed or was interrupted can be tried again"
  })
