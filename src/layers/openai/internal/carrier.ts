/** What carries a request, by where the program runs: the Layer's transport, the sync edge's thread, or a tape before them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { HttpTape } from "../../../services/HttpTape.ts"
import type { HttpRequest, HttpTransport } from "../../../services/HttpTransport.ts"
import { SyncBridge } from "../../../services/SyncBridge.ts"
import { fromEffect, toEffect } from "../../internal/http/effects.ts"
import type { Problem } from "../../internal/model/problems.ts"

/** A transport for one request. */
export interface Carried {
  readonly transport: HttpTransport
  /** The prefix of made ids, where equal requests need equal ids. */
  readonly nameOf?: ((request: HttpRequest) => string) | undefined
}

/** Finds the transport for a request of the fiber. `secrets` are texts that no tape may hold. */
export type Carrier = (fiber: Fiber.Fiber<unknown, unknown>, secrets: ReadonlyArray<string>) => Carried | Problem

/** The Layer's own transport. */
export interface Own {
  readonly transport: HttpTransport
  /** True for code of the program that gives promises, which the sync edge cannot wait for. */
  readonly isProgram: boolean
}

const blocked: Problem = {
  kind: "unsupported",
  message:
    "Effect.runSync cannot wait for the promises of a `fetch` or a client of the program. Use OpenAi.layer without `transport`, or run the program with Effect.runPromise"
}

/** The tape that is nearer to the Layer wins. */
export const make =
  ({ isProgram, transport }: Own, tape: HttpTape | undefined): Carrier =>
  (fiber, secrets) => {
    const bridge = fiber.getRef(SyncBridge)
    const found = tape ?? fiber.getRef(HttpTape)
    if (bridge !== undefined && isProgram && found?.replays !== true) return blocked
    const live = bridge === undefined ? transport : bridge.transport
    return found === undefined ? { transport: live } : taped(found, live, fiber, secrets)
  }

const taped = (
  tape: HttpTape,
  live: HttpTransport,
  fiber: Fiber.Fiber<unknown, unknown>,
  secrets: ReadonlyArray<string>
): Carried => {
  const enter = fiber.getRef(SyncBridge)?.enter
  const send = fromEffect((request) => tape.send(request, secrets, toEffect(live)), fiber.context, enter)
  const awaited: HttpTransport["awaited"] = (effect) =>
    Effect.withFiber((waiting) => {
      enter?.(waiting)
      return effect
    })
  return {
    transport: enter === undefined ? send : Object.assign(send, { awaited }),
    nameOf: (request) => tape.nameOf(request, secrets)
  }
}
