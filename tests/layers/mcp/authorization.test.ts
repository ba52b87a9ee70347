/** Authorization servers whose answers are odd: the login succeeds all the same, or says why it does not. */
import { it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Mcp } from "troupe"
import { describe, expect } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { browse, startMcpOAuth } from "../../support/mcpOAuth.ts"

type Edit = NonNullable<Parameters<typeof startMcpOAuth>[0]>
type Fields = Readonly<Record<string, unknown>>

const resourcePaths = ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
const metadataPath = "/.well-known/oauth-authorization-server"

/** Lays fields over the answer at a path. */
const at =
  (paths: string | ReadonlyArray<string>, fields: Fields): Edit =>
  (path, answer) =>
    [paths].flat().includes(path) ? { ...answer, ...fields } : answer

const form = (fields: object): string => new URLSearchParams(fields as Record<string, string>).toString()

const login = (edit: Edit, expire = false) =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(() => startMcpOAuth(edit)),
      (started) => Effect.promise(() => started.close())
    )
    const oauth: Mcp.OAuthOptions = {
      redirectUrl: "http://localhost:9/callback",
      authorize: (url) => Effect.promise(() => browse(url))
    }
    const mcp = yield* Mcp.connect({ servers: { safe: { url: server.url, oauth } } })
    const tools = yield* mcp.tools()
    if (expire) server.expire(false)
    return { said: yield* call(tools, "safe"), asked: server.asked }
  }).pipe(Effect.scoped)

describe("a login succeeds where", () => {
  it.live.each<[what: string, edit: Edit]>([
    ["fields of the metadata are null", at(metadataPath, { scopes_supported: null, revocation_endpoint: null })],
    ["fields of the metadata do not fit", at(metadataPath, { scopes_supported: "a b", service_documentation: "none" })],
    ["fields of the resource's metadata are null", at(resourcePaths, { scopes_supported: null, jwks_uri: null })],
    ["the resource's metadata have a field that does not fit", at(resourcePaths, { resource_documentation: 5 })],
    [
      "fields of the registration are null or do not fit",
      at("/register", { logo_uri: null, client_secret: null, contacts: null, client_uri: "none", tos_uri: 5 })
    ],
    ["fields of the token are null", at("/token", { refresh_token: null, scope: null, expires_in: null })],
    ["the token comes as a form", (path, answer) => (path === "/token" ? form(answer) : answer)]
  ])("%s", ([, edit]) =>
    Effect.gen(function* () {
      expect((yield* login(edit)).said).toBe("safe 1")
    })
  )

  it.live("the resource's address has one slash more", () =>
    Effect.gen(function* () {
      const slash: Edit = (path, answer) =>
        resourcePaths.includes(path) ? { ...answer, resource: `${(answer as { resource: string }).resource}/` } : answer
      expect((yield* login(slash)).said).toBe("safe 1")
    })
  )

  it.live("a refreshed token comes with null for the refresh token, which is kept", () =>
    Effect.gen(function* () {
      let tokens = 0
      const edit: Edit = (path, answer) =>
        path === "/token" && ++tokens > 1 ? { ...answer, refresh_token: null } : answer
      const { asked, said } = yield* login(edit, true)
      expect(said).toBe("safe 1")
      expect(asked.at(-1)).toBe("refresh_token")
    })
  )
})

it.live("a login that ends after the connection was given up connects nothing", () =>
  Effect.gen(function* () {
    const held: { connecting?: Fiber.Fiber<unknown, unknown> } = {}
    const server = yield* Effect.acquireRelease(
      Effect.promise(() =>
        startMcpOAuth((path, answer) => {
          // Its end is on its way before the token.
          if (path === "/token") Effect.runFork(Fiber.interrupt(held.connecting!))
          return answer
        })
      ),
      (started) => Effect.promise(() => started.close())
    )
    const oauth: Mcp.OAuthOptions = {
      redirectUrl: "http://localhost:9/callback",
      authorize: (url) => Effect.promise(() => browse(url))
    }
    const connect = Effect.scoped(Mcp.connect({ servers: { safe: { url: server.url, oauth } } }))
    held.connecting = yield* Effect.forkChild(connect)
    yield* Fiber.await(held.connecting)
    // Time for a request that should not come.
    for (let n = 0; n < 5; n++) yield* Effect.promise(async () => (await fetch(server.url)).body?.cancel())
    expect(server.asked).toContain("authorization_code")
    expect(server.seen).toEqual([])
  })
)

it.live("a refusal with the status of a success says why", () =>
  Effect.gen(function* () {
    const refusal = { error: "invalid_request", error_description: "the code has been used" }
    for (const answer of [refusal, form(refusal)]) {
      const exit = yield* Effect.exit(login((path, given) => (path === "/token" ? answer : given)))
      expect(failure(exit)).toMatchObject({ message: expect.stringContaining("the code has been used") })
    }
  })
)

it.live("a resource of another server is refused", () =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(login(at(resourcePaths, { resource: "https://elsewhere.example/mcp" })))
    expect(failure(exit)).toMatchObject({ message: expect.stringContaining("https://elsewhere.example/mcp") })
  })
)
