/** The server of a Layer, and what carries requests to it: read from options, and refused where no request could be made. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
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
    const at = yield* connect(tape?.replays === true ? yield* keyless(options) : options)
    const { transport = "auto" } = options
    const own = Transports.transportOf(transport)
    if (own === undefined)
      return yield* refuse(`\`transport\` is not one of ${Transports.names.join(", ")}, or a fetch`)
    return { at, carrier: Carrier.make({ transport: own, isProgram: typeof transport === "function" }, tape) }
  })

/** A replay needs no key. A key that is set is still used, so that it is removed as a secret. */
const keyless = (options: EndpointOptions): Effect.Effect<EndpointOptions, Config.ConfigError> =>
  Effect.map(
    options.apiKey === undefined ? Config.withDefault(Config.Redacted("OPENAI_API_KEY"), undefined) : Effect.undefined,
    (configured) => {
      const given = options.apiKey ?? configured
      const apiKey = given === undefined || Redacted.value(given).trim() === "" ? Redacted.make("none") : given
      return { ...options, apiKey }
    }
  )
