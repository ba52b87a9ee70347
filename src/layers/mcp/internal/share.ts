/** A resource that concurrent users share: the last one releases it, and the next one acquires it again. */
import * as Effect from "effect/Effect"
import * as RcRef from "effect/RcRef"
import * as Scope from "effect/Scope"
import { SyncBridge } from "../../../services/SyncBridge.ts"

/**
 * An Effect that acquires once for all who hold it at the same time; the last one releases. Users on different edges
 * share nothing: what one waits with means nothing to the other.
 */
export const share = <A, E, R>(acquire: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Scope.Scope> => {
  interface Entry {
    readonly ref: RcRef.RcRef<A, E>
    users: number
  }
  const entries = new Map<SyncBridge | undefined, Entry>()
  return Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const edge = yield* SyncBridge
      let entry = entries.get(edge)
      if (entry === undefined) {
        // Without users it holds nothing, so this scope needs no closing.
        const ref = yield* Scope.provide(RcRef.make({ acquire }), Scope.makeUnsafe())
        entry = entries.get(edge) ?? { ref, users: 0 }
        entries.set(edge, entry)
      }
      const held = entry
      held.users++
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (--held.users === 0 && entries.get(edge) === held) entries.delete(edge)
        })
      )
      return yield* restore(RcRef.get(held.ref))
    })
  )
}
