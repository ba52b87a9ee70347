/** The server of a Layer, and what carries requests to it: read from options, and refused where no request could be made. */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import { HttpTape } from "../../../services/HttpTape.ts"
import * as Carrier from "./carrier.ts"
import { type Connected, connect, type EndpointOptions, refuse } from "./connection.ts"
import * as Transports from "./transport/select.ts"

/** A server, and what carries requests to it. */
export interface Reached {
  readonly at: Connected
  readonly carrier: Carrier.Carrier
}

/** Fails with `ConfigError` for options that no request can be made with. */
export const reach = (options: EndpointOptions): Effect.Effect<Reached, Config.ConfigError> =>
  Effect.gen(function* () {
    const tape = yield* HttpTape
    const at = yield* connect(options, { isReplay: tape?.replays === true })
    const { transport = "auto" } = options
    const own = Transports.transportOf(transport)
    if (own === undefined)
      return yield* refuse(`\`transport\` is not one of ${Transports.names.join(", ")}, or a fetch`)
    return { at, carrier: Carrier.make({ transport: own, isProgram: typeof transport === "function" }, tape) }
  })
