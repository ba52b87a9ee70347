/**
 * The program that holds the SDK's client for one connection. It speaks in messages (`protocol.ts`), so that it runs in
 * this thread and in the I/O thread alike.
 */
import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js"
import type { Client } from "@modelcontextprotocol/sdk/client/index.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import type { ProcessTransport } from "./stdioTransport.ts"
import type { FromHost, OAuthSpec, OAuthState, Problem, ProcessEnd, Spec, ToHost } from "./protocol.ts"
import type { Sdk } from "./sdkParts.ts"

/** Makes the program: it hears messages by the function it gives, and speaks by `post`. */
export const host = (sdk: Sdk, post: (message: FromHost) => void): ((message: ToHost) => void) => {
  const { types } = sdk
  /** A timeout is kept by whoever calls; the SDK wants one, and this is the longest. */
  const never = 2 ** 31 - 1
  const calls = new Map<number, AbortController>()
  const asks = new Map<number, { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }>()
  let nextAsk = 0
  let client: Client | undefined
  let process: ProcessTransport | undefined
  let http: InstanceType<Sdk["StreamableHTTPClientTransport"]> | InstanceType<Sdk["SSEClientTransport"]> | undefined
  /** Set while the user is being asked; it is over when there are tokens. */
  let authorization: Promise<void> | undefined
  let authorized: { readonly resolve: (code: string) => void; readonly reject: (error: Error) => void } | undefined
  let isOpen = false
  let oauth: OAuthState = {}
  let closing: Promise<void> | undefined

  /** One server can say much that cannot be used: only the first reports of a connection are passed on. */
  const maxReports = 100
  let reports = 0
  const report = (level: "warning" | "debug", message: string) => {
    reports++
    if (reports <= maxReports) post({ type: "report", level, message })
    else if (reports === maxReports + 1) post({ type: "report", level, message: "further reports are left out" })
  }
  const received = sdk.incoming(sdk, (message) => report("warning", message))

  // -- what went wrong --------------------------------------------------------------------------------------------

  const hasSession = () => http !== undefined && "sessionId" in http && http.sessionId !== undefined
  const problemOf = (error: unknown): Problem => {
    const problem = sdk.problemOf(sdk, error, hasSession())
    return problem.kind === "connection" ? { ...problem, message: process?.offence() ?? problem.message } : problem
  }
  const end = (): ProcessEnd | undefined =>
    process === undefined
      ? undefined
      : (process.end() ?? { exitCode: undefined, signal: undefined, stderr: process.stderr() })

  const goDown = (problem: Problem) => {
    if (!isOpen) return
    isOpen = false
    post({ type: "down", problem, end: end() })
  }

  // -- transports -------------------------------------------------------------------------------------------------

  const providerOf = (spec: OAuthSpec): OAuthClientProvider => {
    // Attempts follow each other, and the next one goes on with what this one got.
    const state = oauth
    const keep = () => post({ type: "oauth", state: { ...state } })
    const common = {
      clientMetadata: spec.metadata,
      ...(spec.clientMetadataUrl === undefined ? {} : { clientMetadataUrl: spec.clientMetadataUrl }),
      // As the SDK's own check, which refuses an address with a slash more; and what the server calls itself is kept as
      // it is written, as authorization servers compare texts.
      validateResourceURL: async (server: string | URL, resource?: string) => {
        if (resource === undefined) return undefined
        const withSlash = (url: URL) => (url.pathname.endsWith("/") ? url.pathname : `${url.pathname}/`)
        const [asked, own] = [new URL(server), new URL(resource)]
        if (asked.origin !== own.origin || !withSlash(asked).startsWith(withSlash(own))) {
          throw new Error(`the server says that it is ${resource}, which does not match its address ${asked.href}`)
        }
        return resource as unknown as URL
      },
      clientInformation: () => state.clientInformation,
      saveClientInformation: (information: NonNullable<OAuthState["clientInformation"]>) => {
        state.clientInformation = information
        keep()
      },
      tokens: () => state.tokens,
      saveTokens: (tokens: NonNullable<OAuthState["tokens"]>) => {
        state.tokens = tokens
        keep()
      },
      saveCodeVerifier: (verifier: string) => {
        // The user who is being asked was sent there with the first one.
        if (authorization === undefined) state.codeVerifier = verifier
      },
      codeVerifier: () => state.codeVerifier ?? "",
      invalidateCredentials: (what: string) => {
        if (what === "all" || what === "client") delete state.clientInformation
        if (what === "all" || what === "tokens") delete state.tokens
        if (what === "all" || what === "verifier") delete state.codeVerifier
        keep()
      }
    }
    if (spec.grant === "client_credentials") {
      return {
        ...common,
        redirectUrl: undefined,
        redirectToAuthorization: () => {
          throw new Error("client credentials need no redirect")
        },
        prepareTokenRequest: (scope) => {
          const params = new URLSearchParams({ grant_type: "client_credentials" })
          const wanted = scope ?? spec.scope
          if (wanted !== undefined) params.set("scope", wanted)
          return params
        }
      }
    }
    return {
      ...common,
      redirectUrl: spec.redirectUrl,
      redirectToAuthorization: (url) => {
        if (authorization !== undefined) return
        const transport = http
        authorization = new Promise<string>((resolve, reject) => {
          authorized = { resolve, reject }
        })
          .then((code) => transport?.finishAuth(code))
          .finally(() => {
            authorization = undefined
          })
        // Whoever made the request waits for it.
        authorization.catch(() => {})
        post({ type: "authorize", url: url.href })
      }
    }
  }

  const reconnectionOptions = {
    initialReconnectionDelay: 200,
    maxReconnectionDelay: 5000,
    reconnectionDelayGrowFactor: 2,
    maxRetries: 3
  }

  const httpTransport = (spec: Extract<Spec, { readonly url: string }>, kind: "http" | "sse") => {
    const options = {
      requestInit: { headers: { ...spec.headers } },
      ...(spec.oauth === undefined ? {} : { authProvider: providerOf(spec.oauth) })
    }
    const url = new URL(spec.url)
    const fetch = sdk.soundFetch(sdk.fetch, received, sdk.maxMessageBytes)
    http =
      kind === "sse"
        ? new sdk.SSEClientTransport(url, { ...options, fetch })
        : new sdk.StreamableHTTPClientTransport(url, {
            ...options,
            fetch: sdk.watchedFetch(fetch),
            reconnectionOptions
          })
    return http
  }

  const transportOf = (spec: Spec, kind: "http" | "sse"): Transport => {
    if (spec.kind === "stdio") {
      // The SDK's own list of what a server may know of our environment.
      const env = { ...sdk.getDefaultEnvironment(), ...spec.env, TROUPE_SERVER: spec.id }
      const read = received.lines()
      const mark = `TROUPE_SERVER=${spec.id}`
      process = sdk.processTransport(sdk, { ...spec, env, mark, read, maxLineBytes: sdk.maxMessageBytes })
      return process
    }
    if (spec.kind === "memory") {
      const [ours, theirs] = sdk.InMemoryTransport.createLinkedPair()
      const connected = spec.server.connect(theirs as never)
      const start = ours.start.bind(ours)
      ours.start = async () => {
        await connected
        await start()
      }
      return ours
    }
    return httpTransport(spec, kind) as Transport
  }

  // -- opening and closing ----------------------------------------------------------------------------------------

  const ask = (method: string, params: unknown, signal: AbortSignal): Promise<never> =>
    new Promise<never>((resolve, reject) => {
      const id = nextAsk++
      asks.set(id, { resolve, reject })
      signal.addEventListener("abort", () => {
        if (!asks.delete(id)) return
        post({ type: "askEnded", id })
        reject(new types.McpError(types.ErrorCode.ConnectionClosed, "the server cancelled its request"))
      })
      post({ type: "ask", id, method, params })
    })

  const makeClient = (message: Extract<ToHost, { readonly type: "open" }>): Client => {
    const { capabilities } = message
    const made = new sdk.Client({ ...message.client }, { capabilities })
    if (capabilities.sampling !== undefined) {
      made.setRequestHandler(types.CreateMessageRequestSchema, ({ method, params }, extra) => {
        const isToolContent = (content: { readonly type: string }) => /^tool_(use|result)$/.test(content.type)
        const usesTools =
          params.tools !== undefined ||
          params.toolChoice !== undefined ||
          params.messages.some(({ content }) =>
            Array.isArray(content) ? content.some(isToolContent) : isToolContent(content)
          )
        if (usesTools && capabilities.sampling?.tools === undefined) {
          const problem = "this client has not declared sampling.tools: ask without tools"
          throw new types.McpError(types.ErrorCode.InvalidParams, problem)
        }
        return ask(method, params, extra.signal)
      })
    }
    if (capabilities.elicitation !== undefined) {
      made.setRequestHandler(types.ElicitRequestSchema, ({ method, params }, extra) =>
        ask(method, params, extra.signal)
      )
    }
    if (capabilities.roots !== undefined) {
      made.setRequestHandler(types.ListRootsRequestSchema, ({ method, params }, extra) =>
        ask(method, params, extra.signal)
      )
    }
    made.fallbackNotificationHandler = async ({ method, params }) => post({ type: "notification", method, params })
    return Object.assign(made, {
      onclose: () =>
        goDown({
          message: process?.offence() ?? "the connection was closed",
          code: undefined,
          kind: "connection",
          executed: "unknown"
        }),
      onerror: (error: Error) => {
        // An event source goes on by itself, but to the server that would be another client.
        const isLost = error instanceof sdk.SseError || /Maximum reconnection attempts/.test(error.message)
        if (isLost) goDown({ ...problemOf(error), kind: "connection", executed: "unknown" })
        else report("debug", problemOf(error).message)
      }
    })
  }

  const connect = async (message: Extract<ToHost, { readonly type: "open" }>, kind: "http" | "sse"): Promise<void> => {
    const made = makeClient(message)
    const transport = received.transport(transportOf(message.spec, kind))
    client = made
    try {
      await made.connect(transport, { timeout: never })
    } catch (error) {
      const pending = authorization
      await transport.close().catch(() => {})
      if (!(error instanceof sdk.UnauthorizedError) || pending === undefined || closing !== undefined) throw error
      await pending
      // A transport is started only once.
      return connect(message, kind)
    }
  }

  const open = async (message: Extract<ToHost, { readonly type: "open" }>): Promise<void> => {
    const { spec } = message
    if ("oauth" in spec && spec.oauth !== undefined) oauth = { ...spec.oauth.state }
    try {
      try {
        await connect(message, spec.kind === "sse" ? "sse" : "http")
      } catch (error) {
        // What the specification says of servers that know the older transport only.
        const { code } = problemOf(error)
        if (spec.kind !== "auto" || !(code === "400" || code === "404" || code === "405") || closing !== undefined)
          throw error
        await connect(message, "sse").catch(() => {
          throw error
        })
      }
      if (closing !== undefined) return
      isOpen = true
      const info = client?.getServerVersion()
      post({
        type: "opened",
        info: {
          name: info?.name ?? "",
          version: info?.version ?? "",
          capabilities: client?.getServerCapabilities() ?? {},
          instructions: client?.getInstructions()
        },
        pid: process?.pid()
      })
    } catch (error) {
      await process?.close()
      const problem = problemOf(error)
      post({ type: "openFailed", problem, end: end() })
    }
  }

  const close = async (): Promise<void> => {
    isOpen = false
    // A server that ends its streams with the session would be asked for them again: the SDK forgets only one of them.
    reconnectionOptions.maxRetries = 0
    for (const { reject } of asks.values()) reject(new Error("the connection is being closed"))
    asks.clear()
    if (http !== undefined && "terminateSession" in http) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, 1000)
      })
      await Promise.race([http.terminateSession().catch(() => {}), late])
      clearTimeout(timer)
    }
    await client?.close().catch(() => {})
    await http?.close().catch(() => {})
    await process?.close().catch(() => {})
  }

  // -- calls ------------------------------------------------------------------------------------------------------

  const call = async (message: Extract<ToHost, { readonly type: "call" }>): Promise<void> => {
    const { id, method, params } = message
    const controller = new AbortController()
    calls.set(id, controller)
    const options = {
      signal: controller.signal,
      timeout: never,
      ...(message.progress ? { onprogress: (progress: unknown) => post({ type: "progress", id, progress }) } : {})
    }
    try {
      const { task } = message
      const attempt = () => {
        if (client === undefined) throw new Error("Not connected")
        return task
          ? runTask(client, params, options)
          : client.request({ method, params } as never, types.ResultSchema, options)
      }
      let result: unknown
      try {
        result = await attempt()
      } catch (error) {
        // The server wants more than it has been shown, and has not acted.
        if (!(error instanceof sdk.UnauthorizedError) || authorization === undefined) throw error
        await authorization
        result = await attempt()
      }
      const excess = sdk.excess(result, method === "tools/call" ? sdk.depths.result : sdk.depths.other)
      if (excess !== undefined) {
        const message = `the server's answer is ${excess}`
        post({
          type: "failed",
          id,
          problem: { message, code: undefined, kind: "invalid", executed: "unknown" },
          ends: false
        })
        return
      }
      post({ type: "result", id, result })
    } catch (error) {
      if (controller.signal.aborted) return
      const problem = problemOf(error)
      const ends = isOpen && (problem.kind === "session" || (problem.kind === "connection" && !(await isThere())))
      if (ends) isOpen = false
      post({ type: "failed", id, problem, ends })
    } finally {
      calls.delete(id)
    }
  }

  /** One connection of many may be lost while the server is well; other calls must not be given up for it. */
  const isThere = async (): Promise<boolean> => {
    if (http === undefined || client === undefined) return false
    return client.ping({ timeout: 5000 }).then(
      () => true,
      () => false
    )
  }

  /** A tool that only runs as a task: the SDK starts it, asks for its status and fetches its result. */
  const runTask = async (client: Client, params: unknown, options: object): Promise<unknown> => {
    const stream = client.experimental.tasks.callToolStream(params as never, types.ResultSchema as never, {
      ...options,
      task: {}
    })
    for await (const message of stream) {
      if (message.type === "result") return message.result
      if (message.type === "error") throw message.error
    }
    throw new Error("the task ended without a result")
  }

  return (message) => {
    switch (message.type) {
      case "open":
        void open(message)
        return
      case "call":
        void call(message)
        return
      case "cancel":
        calls.get(message.id)?.abort(message.reason)
        return
      case "notify":
        void client?.notification({ method: message.method, params: message.params } as never).catch(() => {})
        return
      case "answer":
        asks.get(message.id)?.resolve(message.result as never)
        asks.delete(message.id)
        return
      case "refuse":
        asks.get(message.id)?.reject(Object.assign(new Error(message.message), { code: message.code }))
        asks.delete(message.id)
        return
      case "authorized":
        authorized?.resolve(message.code)
        return
      case "unauthorized":
        authorized?.reject(new sdk.UnauthorizedError(message.message))
        return
      case "close":
        closing ??= close().finally(() => post({ type: "closed", stderr: process?.stderr() }))
    }
  }
}
