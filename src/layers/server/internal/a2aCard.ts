/** The card by which clients of A2A know what a server has. */
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import { version } from "../../../internal/version.generated.ts"
import type { Edge } from "./edge.ts"
import type { ServedRunner } from "./served.ts"

/** The address by which the client has called. */
const baseOf = ({ settings }: Edge, { headers, originalUrl }: HttpServerRequest.HttpServerRequest): string => {
  const url = URL.canParse(originalUrl) ? new URL(originalUrl) : undefined
  const isSecure = url?.protocol === "https:" || headers["x-forwarded-proto"] === "https"
  const host = headers["host"] ?? url?.host ?? "localhost"
  return `${isSecure ? "https" : "http"}://${host}${settings.prefix}`
}

const skillOf = ({ description, isChat, name, outputSchema }: ServedRunner): object => ({
  id: name,
  name,
  description: description ?? name,
  tags: ["troupe"],
  inputModes: isChat ? ["text/plain"] : ["application/json"],
  outputModes: outputSchema === undefined || outputSchema["type"] === "string" ? ["text/plain"] : ["application/json"]
})

const secured = {
  securitySchemes: { bearer: { httpAuthSecurityScheme: { scheme: "Bearer" } } },
  securityRequirements: [{ schemes: { bearer: { list: [] } } }]
} as const

/** A card with a skill for each runner, and the address of each: `/a2a/NAME`. */
export const cardOf = (
  edge: Edge,
  request: HttpServerRequest.HttpServerRequest,
  runners: ReadonlyArray<ServedRunner>
): object => {
  const base = baseOf(edge, request)
  const [only] = runners.length === 1 ? runners : []
  return {
    name: only?.name ?? "troupe",
    description:
      only === undefined ? `Agents: ${runners.map(({ name }) => name).join(", ")}` : (only.description ?? only.name),
    version,
    supportedInterfaces: runners.map(({ name }) => ({
      url: `${base}/a2a/${name}`,
      protocolBinding: "JSONRPC",
      protocolVersion: "1.0"
    })),
    capabilities: { streaming: true, pushNotifications: false },
    defaultInputModes: ["text/plain", "application/json"],
    defaultOutputModes: ["text/plain", "application/json"],
    skills: runners.map(skillOf),
    ...(edge.settings.bearer === undefined ? {} : secured)
  }
}
