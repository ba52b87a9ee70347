/** An MCP server that wants authorization, with an authorization server that asks no user, in this process. */
import { createHash, randomUUID } from "node:crypto"
import { startMcpHttp } from "./mcpHttp.ts"

/** `edit` changes what the authorization server answers at a path; a text is sent as a form. */
export const startMcpOAuth = async (
  edit: (path: string, answer: object) => object | string = (_, answer) => answer
) => {
  const challenges = new Map<string, string>()
  const access = new Set<string>()
  const refresh = new Set<string>()
  /** What was asked of the authorization server, in order. */
  const asked: Array<string> = []
  const secret = createHash("sha256").update("client").digest("hex")
  const grant = () => {
    const tokens = { access_token: randomUUID(), refresh_token: randomUUID() }
    access.add(tokens.access_token)
    refresh.add(tokens.refresh_token)
    return { ...tokens, token_type: "Bearer", expires_in: 3600 }
  }
  const server = await startMcpHttp({
    front: (request, response, body) => {
      const url = new URL(request.url!, `http://${request.headers.host}`)
      const json = (status: number, value: object) => {
        const answer = edit(url.pathname, value)
        const isForm = typeof answer === "string"
        const type = isForm ? "application/x-www-form-urlencoded; charset=utf-8" : "application/json"
        response.writeHead(isForm ? 200 : status, { "content-type": type })
        response.end(isForm ? answer : JSON.stringify(answer))
        return true
      }
      const form = new URLSearchParams(body)
      switch (url.pathname) {
        case "/.well-known/oauth-protected-resource":
        case "/.well-known/oauth-protected-resource/mcp":
          return json(200, { resource: `${url.origin}/mcp`, authorization_servers: [url.origin] })
        case "/.well-known/oauth-authorization-server":
          return json(200, {
            issuer: url.origin,
            authorization_endpoint: `${url.origin}/authorize`,
            token_endpoint: `${url.origin}/token`,
            registration_endpoint: `${url.origin}/register`,
            response_types_supported: ["code"],
            code_challenge_methods_supported: ["S256"],
            token_endpoint_auth_methods_supported: ["none", "client_secret_basic"]
          })
        case "/register": {
          asked.push("register")
          const client = JSON.parse(body) as { application_type?: string; redirect_uris: ReadonlyArray<string> }
          // As OpenID Connect has it: what does not say what it is is on the web, where addresses are https.
          const isWeb = (client.application_type ?? "web") === "web"
          if (isWeb && client.redirect_uris.some((uri) => !uri.startsWith("https:"))) {
            return json(400, { error: "invalid_redirect_uri", error_description: "a web client comes back by https" })
          }
          return json(201, { ...client, client_id: "registered" })
        }
        case "/authorize": {
          asked.push("authorize")
          const code = randomUUID()
          challenges.set(code, url.searchParams.get("code_challenge")!)
          const back = new URL(url.searchParams.get("redirect_uri")!)
          back.searchParams.set("code", code)
          const state = url.searchParams.get("state")
          if (state !== null) back.searchParams.set("state", state)
          response.writeHead(302, { location: back.href }).end()
          return true
        }
        case "/token": {
          const kind = form.get("grant_type")!
          asked.push(kind)
          if (kind === "refresh_token") {
            return refresh.delete(form.get("refresh_token")!)
              ? json(200, grant())
              : json(400, { error: "invalid_grant" })
          }
          if (kind === "client_credentials") {
            const expected = `Basic ${Buffer.from(`me:${secret}`).toString("base64")}`
            return request.headers.authorization === expected
              ? json(200, grant())
              : json(401, { error: "invalid_client" })
          }
          const proof = createHash("sha256").update(form.get("code_verifier")!).digest("base64url")
          return challenges.get(form.get("code")!) === proof
            ? json(200, grant())
            : json(400, { error: "invalid_grant" })
        }
        default: {
          const token = request.headers.authorization?.replace(/^Bearer /, "")
          if (token !== undefined && access.has(token)) return false
          const metadata = `${url.origin}/.well-known/oauth-protected-resource`
          response.writeHead(401, { "www-authenticate": `Bearer resource_metadata="${metadata}"` }).end()
          return true
        }
      }
    }
  })
  return {
    ...server,
    asked,
    secret,
    /** Makes all access tokens void; refresh tokens too, if asked for. */
    expire: (all: boolean) => {
      access.clear()
      if (all) refresh.clear()
    }
  }
}

/** Follows an authorization address as a user's browser does, and gives the address that it is sent back to. */
export const comeBack = async (url: URL): Promise<URL> => {
  const response = await fetch(url, { redirect: "manual" })
  await response.body?.cancel()
  return new URL(response.headers.get("location")!)
}

/** The code that comes back from an authorization address. */
export const browse = async (url: URL): Promise<string> => (await comeBack(url)).searchParams.get("code")!
