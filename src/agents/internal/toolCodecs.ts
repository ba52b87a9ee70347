/** The codecs of a tool's arguments and results, made once for each tool. */
import * as Effect from "effect/Effect"
import type * as Tool from "effect/ai/Tool"
import { memoize } from "effect/Function"
import * as Schema from "effect/Schema"
import { allIssues } from "../../internal/issues.ts"
import { readingOf } from "../../internal/reading.ts"
import { takesNothing } from "../../internal/toolDefinition.ts"

interface Codecs {
  readonly decode: (params: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encode: (result: unknown) => Effect.Effect<unknown, Schema.SchemaError>
}

/** The codecs of a tool. */
export const codecsOf = memoize(
  // The services that schemas need are part of the agent's requirements, so they are in the fiber's context.
  (tool: Tool.Any): Codecs => ({
    decode: takesNothing(tool)
      ? () => Effect.succeed({})
      : (Schema.decodeUnknownEffect(
          readingOf(tool.parametersSchema) as Schema.Codec<unknown>,
          allIssues
        ) as Codecs["decode"]),
    encode: Schema.encodeUnknownEffect(tool.successSchema) as Codecs["encode"]
  })
)
