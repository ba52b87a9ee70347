/** What a server says about its authorization: where requests and the user are sent, and what is refused. */
import { once } from "node:events"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { Worker } from "node:worker_threads"
import { it } from "@effect/vitest"
import { Effect, type Exit, Redacted } from "effect"
import { Mcp, SyncEdge } from "troupe"
import { describe, expect } from "vitest"
import { networkOf } from "../../../src/layers/internal/addressRanges.ts"
import * as Addresses from "../../../src/layers/mcp/internal/authorizationAddresses.ts"
import { codeOf } from "../../../src/layers/mcp/internal/authorizationChecks.ts"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { browse, comeBack, startMcpOAuth } from "../../support/mcpOAuth.ts"

type Edit = NonNullable<Parameters<typeof startMcpOAuth>[0]>

const redirectUrl = "http://localhost:9/callback"
const resourcePaths = ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
const metadataPath = "/.well-known/oauth-authorization-server"

/** Lays fields over the answer at a path. */
const at =
  (paths: string | ReadonlyArray<string>, fields: Readonly<Record<string, unknown>>): Edit =>
  (path, answer) =>
    [paths].flat().includes(path) ? { ...answer, ...fields } : answer

/** A server that notes what it is asked. */
const listening = (answer: http.RequestListener = (_, response) => response.writeHead(404).end()) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const seen: Array<http.IncomingMessage> = []
      const server = http.createServer((request, response) => {
        seen.push(request)
        answer(request, response)
      })
      await once(server.listen(0, "127.0.0.1"), "listening")
      return { seen, server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

const oauthServer = (edit?: Edit) =>
  Effect.acquireRelease(
    Effect.promise(() => startMcpOAuth(edit)),
    (started) => Effect.promise(() => started.close())
  )

const login = (url: string, oauth: Partial<Mcp.OAuthOptions> = {}, more: Partial<Mcp.HttpOptions> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const authorize = (asked: URL) => Effect.promise(() => browse(asked))
      const mcp = yield* Mcp.connect({
        servers: { safe: { url, oauth: { redirectUrl, authorize, ...oauth }, ...more } }
      })
      return yield* call(yield* mcp.tools(), "safe")
    })
  )

const json = (response: http.ServerResponse, value: object) =>
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value))

const says = (exit: Exit.Exit<unknown, unknown>, text: string) =>
  expect(failure(exit)).toMatchObject({ _tag: "McpConnectError", message: expect.stringContaining(text) })

it.live("metadata that a 401 names at another origin are not read", () =>
  Effect.gen(function* () {
    const other = yield* listening()
    const server = yield* listening((_, response) => {
      const named = `Bearer resource_metadata="${other.origin}/latest/meta-data/iam"`
      response.writeHead(401, { "www-authenticate": named }).end()
    })
    const exit = yield* Effect.exit(login(`${server.origin}/mcp`, { authorize: () => Effect.fail("no") }))
    expect(exit._tag).toBe("Failure")
    expect(other.seen).toEqual([])
    expect(server.seen.map(({ url }) => url)).toContain(resourcePaths[1])
  })
)

/** Runs a server that answers 401, in a thread of its own, with fields laid over its metadata. */
const unauthorizedThread = async (metadata: string) => {
  const source = `const { parentPort, workerData } = require("node:worker_threads")
        const server = require("node:http").createServer((request, response) => {
          const own = "http://" + request.headers.host
          if (request.url === ${JSON.stringify(metadataPath)}) {
            response.writeHead(200, { "content-type": "application/json" })
            const metadata = { issuer: own, authorization_endpoint: own + "/a", token_endpoint: own + "/t",
              registration_endpoint: own + "/r", response_types_supported: ["code"], code_challenge_methods_supported: ["S256"] }
            return response.end(JSON.stringify({ ...metadata, ...JSON.parse(workerData) }))
          }
          response.writeHead(request.url === "/mcp" ? 401 : 404).end()
        }).listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port))`
  const worker = new Worker(source, { eval: true, workerData: metadata })
  const [port] = (await once(worker, "message")) as [number]
  return { worker, url: `http://127.0.0.1:${port}/mcp` }
}

describe("an address that is not one of the web is not handed to authorize", () => {
  it.each<[edge: string, run: <A, E>(program: Effect.Effect<A, E>) => Promise<A>]>([
    ["runPromise", (program) => Effect.runPromise(program)],
    ["runSync", async (program) => Effect.runSync(Effect.provide(program, SyncEdge.layer))]
  ])("under %s", async (_, run) => {
    const { url, worker } = await unauthorizedThread(`{"authorization_endpoint":"file:///etc/passwd"}`)
    const asked: Array<string> = []
    const authorize = (given: URL) => Effect.sync(() => (asked.push(given.href), "code"))
    const exit = await run(Effect.exit(login(url, { authorize })))
    await worker.terminate()
    says(exit, "authorization_endpoint is file:, and only http and https addresses are used")
    expect(asked).toEqual([])
  })
})

describe("a server on this machine may not name", () => {
  it.live.each<[what: string, edit: Edit, said: string]>([
    [
      "a link-local authorization server",
      at(resourcePaths, { authorization_servers: ["http://169.254.169.254/"] }),
      "169.254.169.254"
    ],
    ["one on a private network", at(resourcePaths, { authorization_servers: ["http://10.1.2.3/"] }), "10.1.2.3"],
    [
      "an authorization server that is a file",
      at(resourcePaths, { authorization_servers: ["file:///etc/passwd"] }),
      "names file:, which cannot be asked; the operator of the server has to name an authorization server by http or https"
    ],
    [
      "a private authorization endpoint",
      at(metadataPath, { authorization_endpoint: "http://192.168.0.1/reboot" }),
      "192.168.0.1"
    ],
    ["a private token endpoint", at(metadataPath, { token_endpoint: "http://169.254.169.254/t" }), "allowPrivate"],
    [
      "a registration endpoint in another scheme",
      at(metadataPath, { registration_endpoint: "ftp://a.example/" }),
      "registration_endpoint is ftp:"
    ]
  ])("%s", ([, edit, said]) =>
    Effect.gen(function* () {
      const server = yield* oauthServer(edit)
      says(yield* Effect.exit(login(server.url)), said)
      expect(server.asked).toEqual([])
    })
  )
})

it.live("an authorization server at another origin gets neither the server's headers nor a redirect elsewhere", () =>
  Effect.gen(function* () {
    const third = yield* listening()
    const issuer = yield* listening((_, response) => response.writeHead(302, { location: `${third.origin}/x` }).end())
    const server = yield* oauthServer(at(resourcePaths, { authorization_servers: [issuer.origin] }))
    const headers = { "x-api-key": "for the server only" }
    says(yield* Effect.exit(login(server.url, {}, { headers })), "PKCE")
    expect(issuer.seen.length).toBeGreaterThan(0)
    expect(issuer.seen.filter((request) => "x-api-key" in request.headers)).toEqual([])
    expect(third.seen).toEqual([])
  })
)

it.live("an authorization server at another origin of this machine works", () =>
  Effect.gen(function* () {
    let target = ""
    const issuer = yield* listening((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", async () => {
        const { host: _, ...headers } = request.headers as Record<string, string>
        const body = chunks.length === 0 ? undefined : Buffer.concat(chunks)
        const answer = await fetch(target + request.url, {
          method: request.method!,
          headers,
          body: body ?? null,
          redirect: "manual"
        })
        const text = (await answer.text()).replaceAll(target, issuer.origin)
        response.writeHead(answer.status, {
          "content-type": "application/json",
          location: answer.headers.get("location") ?? ""
        })
        response.end(text)
      })
    })
    const server = yield* oauthServer(at(resourcePaths, { authorization_servers: [issuer.origin] }))
    target = new URL(server.url).origin
    expect(yield* login(server.url)).toBe("safe 1")
    expect(issuer.seen.map(({ url }) => url!.replace(/\?.*/, ""))).toContain("/token")
  })
)

it.live("an answer of an authorization server that is too long is refused", () =>
  Effect.gen(function* () {
    const issuer = yield* listening((_, response) => json(response, { text: "a".repeat(2 * 1024 * 1024) }))
    const server = yield* oauthServer(at(resourcePaths, { authorization_servers: [issuer.origin] }))
    says(yield* Effect.exit(login(server.url)), "a message of more than 1048576 bytes")
  })
)

describe("an authorization server is refused", () => {
  it.live.each<[what: string, edit: Edit, said: string]>([
    [
      "whose metadata do not name PKCE",
      at(metadataPath, { code_challenge_methods_supported: undefined }),
      "do not name PKCE with S256"
    ],
    [
      "whose metadata name only plain PKCE",
      at(metadataPath, { code_challenge_methods_supported: ["plain"] }),
      "do not name PKCE with S256"
    ],
    [
      "whose metadata are of another issuer",
      at(metadataPath, { issuer: "https://elsewhere.example" }),
      "the issuer https://elsewhere.example"
    ]
  ])("%s", ([, edit, said]) =>
    Effect.gen(function* () {
      const server = yield* oauthServer(edit)
      says(yield* Effect.exit(login(server.url)), said)
      expect(server.asked).toEqual([])
    })
  )
})

describe("an authorization server that does not keep to the specification is used", () => {
  const template = "https://login.example/{tenantid}/v2.0"

  it.live("without PKCE in its metadata, where requirePkce is false; PKCE is still used", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer(at(metadataPath, { code_challenge_methods_supported: undefined }))
      const asked: Array<URL> = []
      const authorize = (url: URL) => {
        asked.push(url)
        return Effect.promise(() => browse(url))
      }
      expect(yield* login(server.url, { requirePkce: false, authorize })).toBe("safe 1")
      expect(asked[0]?.searchParams.get("code_challenge_method")).toBe("S256")
    })
  )

  it.live("with metadata of another issuer, where that one is given", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer(at(metadataPath, { issuer: template }))
      expect(yield* login(server.url, { issuer: template })).toBe("safe 1")
    })
  )

  it.live.each<[what: string, iss: string, ok: boolean]>([
    ["of one tenant", "https://login.example/8a3f/v2.0", true],
    ["of a path that the template does not have", "https://login.example/8a3f/x/v2.0", false],
    ["of another host", "https://evil.example/8a3f/v2.0", false]
  ])("and its answers, %s, are tested against the template", ([, iss, ok]) =>
    Effect.gen(function* () {
      const server = yield* oauthServer(at(metadataPath, { issuer: template }))
      const authorize = (url: URL) =>
        Effect.promise(async () => {
          const back = await comeBack(url)
          back.searchParams.set("iss", iss)
          return back
        })
      const exit = yield* Effect.exit(login(server.url, { issuer: template, authorize }))
      if (ok) expect(exit._tag).toBe("Success")
      else says(exit, "from another issuer than was asked")
    })
  )

  it.live("without the address of the server in requests, where sendResource is false", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer()
      const asked: Array<string | null> = []
      const authorize = (url: URL) => {
        asked.push(url.searchParams.get("resource"))
        return Effect.promise(() => browse(url))
      }
      expect(yield* login(server.url, { authorize })).toBe("safe 1")
      expect(yield* login(server.url, { authorize, sendResource: false })).toBe("safe 2")
      expect(asked).toEqual([server.url, null])
    })
  )

  it.live("where it is named next to one that is not on the web", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer((path, answer) => {
        if (!resourcePaths.includes(path)) return answer
        const { authorization_servers: own } = answer as { readonly authorization_servers: ReadonlyArray<string> }
        return { ...answer, authorization_servers: ["file:///etc/passwd", ...own] }
      })
      expect(yield* login(server.url)).toBe("safe 1")
    })
  )
})

describe("what a program allows an authorization server goes no further:", () => {
  it.live.each<[what: string, edit: Edit, oauth: Partial<Mcp.OAuthOptions>, said: string]>([
    [
      "metadata that name only plain PKCE are refused with requirePkce: false",
      at(metadataPath, { code_challenge_methods_supported: ["plain"] }),
      { requirePkce: false },
      "do not name PKCE with S256"
    ],
    [
      "metadata of a third issuer are refused with an issuer",
      at(metadataPath, { issuer: "https://elsewhere.example" }),
      { issuer: "https://login.example/{tenantid}/v2.0" },
      "the issuer https://elsewhere.example"
    ]
  ])("%s", ([, edit, oauth, said]) =>
    Effect.gen(function* () {
      const server = yield* oauthServer(edit)
      says(yield* Effect.exit(login(server.url, oauth)), said)
      expect(server.asked).toEqual([])
    })
  )
})

it.live("client credentials need no PKCE", () =>
  Effect.gen(function* () {
    const server = yield* oauthServer(at(metadataPath, { code_challenge_methods_supported: undefined }))
    const oauth: Mcp.OAuthOptions = { clientId: "me", clientSecret: Redacted.make(server.secret) }
    const mcp = yield* Mcp.connect({ servers: { safe: { url: server.url, oauth } } })
    expect(yield* call(yield* mcp.tools(), "safe")).toBe("safe 1")
  })
)

it.live("a server that names no authorization server may publish the metadata of another one", () =>
  Effect.gen(function* () {
    const edit: Edit = (path, answer) => {
      if (resourcePaths.includes(path)) return { error: "not found" }
      return path === metadataPath ? { ...answer, issuer: "https://behind.example" } : answer
    }
    expect(yield* login((yield* oauthServer(edit)).url)).toBe("safe 1")
  })
)

describe("the whole address that the user came back to", () => {
  it.live.each<[what: string, give: (url: URL) => string | URL]>([
    ["as a text", (url) => url.href],
    ["as a URL", (url) => url]
  ])("is an answer, %s", ([, give]) =>
    Effect.gen(function* () {
      const server = yield* oauthServer()
      const states: Array<string | null> = []
      const authorize = (url: URL) => {
        states.push(url.searchParams.get("state"))
        return Effect.promise(async () => give(await comeBack(url)))
      }
      expect(yield* login(server.url, { authorize })).toBe("safe 1")
      expect(yield* login(server.url, { authorize })).toBe("safe 2")
      expect(states.map((state) => state?.length)).toEqual([43, 43])
      expect(states[0]).not.toBe(states[1])
    })
  )

  it.live.each<[what: string, edit: (url: URL) => void, said: string]>([
    ["another state", (url) => url.searchParams.set("state", "forged"), "another state than was sent"],
    ["no state", (url) => url.searchParams.delete("state"), "another state than was sent"],
    ["two states", (url) => url.searchParams.append("state", "forged"), "another state than was sent"],
    ["another issuer", (url) => url.searchParams.set("iss", "https://elsewhere.example"), "another issuer"],
    ["an error", (url) => url.searchParams.set("error", "access_denied"), "access_denied"],
    ["no code", (url) => url.searchParams.delete("code"), "has no code"],
    ["another path", (url) => void (url.pathname = "/elsewhere"), "does not lead to redirectUrl"]
  ])("is refused with %s, and no token is asked for", ([, edit, said]) =>
    Effect.gen(function* () {
      const server = yield* oauthServer()
      const authorize = (url: URL) =>
        Effect.promise(async () => {
          const back = await comeBack(url)
          edit(back)
          return back
        })
      const exit = yield* Effect.exit(login(server.url, { authorize }))
      expect(failure(exit)).toMatchObject({ reason: "unauthorized", message: expect.stringContaining(said) })
      expect(server.asked).toEqual(["register", "authorize"])
    })
  )
})

it("a code that looks like an address is a code", () => {
  const sent = { redirectUrl, state: "s", isIssuer: undefined, saysIssuer: false }
  for (const code of ["4/0AdQt8", "urn:code:1", "a b"]) expect(codeOf(code, sent)).toBe(code)
})

describe("addresses that a server names", () => {
  const check = (server: string, url: string, allow: boolean | ReadonlyArray<string> = false) =>
    Effect.map(
      Effect.exit(Effect.tryPromise(() => Addresses.make(server, allow).check("it", url))),
      ({ _tag }) => _tag === "Success"
    )

  it.live("are public, or in the network of the server", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [server: string, url: string, allowed: boolean]> = [
        ["https://1.1.1.1/mcp", "https://8.8.8.8/token", true],
        ["https://1.1.1.1/mcp", "http://8.8.8.8/token", false],
        ["https://1.1.1.1/mcp", "https://127.0.0.1/token", false],
        ["https://1.1.1.1/mcp", "https://[::1]/token", false],
        ["https://1.1.1.1/mcp", "https://[::ffff:10.0.0.1]/token", false],
        ["https://1.1.1.1/mcp", "https://2130706433/token", false],
        ["https://1.1.1.1/mcp", "https://localhost/token", false],
        ["http://10.0.0.1/mcp", "http://192.168.1.1/token", true],
        ["http://10.0.0.1/mcp", "http://127.0.0.1/token", false],
        ["http://127.0.0.1:1/mcp", "http://[::1]:2/token", true],
        ["http://127.0.0.1:1/mcp", "http://0.0.0.0:2/token", false],
        ["http://169.254.1.1/mcp", "http://169.254.1.1:2/token", true],
        ["http://169.254.1.1/mcp", "http://169.254.169.254/token", false],
        ["http://[fd00::1]/mcp", "http://[fd00::2]/token", true],
        ["http://[fd00::1]/mcp", "http://[fd00:ec2::254]/token", false]
      ]
      const found = yield* Effect.forEach(cases, ([server, url]) => check(server, url))
      expect(cases.map(([server, url], n) => [server, url, found[n]])).toEqual(cases)
    })
  )

  it.live("may be private where allowPrivate says so", () =>
    Effect.gen(function* () {
      expect(yield* check("https://1.1.1.1/mcp", "https://10.0.0.5/token", ["10.0.0.0/8"])).toBe(true)
      expect(yield* check("https://1.1.1.1/mcp", "https://192.168.0.5/token", ["10.0.0.0/8"])).toBe(false)
      expect(yield* check("https://1.1.1.1/mcp", "https://192.168.0.5/token", true)).toBe(true)
    })
  )

  it("are of no network where that is not known", () => {
    expect(["169.254.1.1", "100.64.0.1", "8.8.8.8", "::127.0.0.1", "x"].map(networkOf)).toEqual(
      Array(5).fill(undefined)
    )
  })
})

it.live("a range that is not one is refused before the server is asked", () =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(login("http://127.0.0.1:1/mcp", { allowPrivate: ["private"] }))
    expect(String(exit)).toContain("allowPrivate is neither an address nor a range")
  })
)
