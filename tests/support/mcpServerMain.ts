/**
 * The server of the MCP tests: `node mcpServerMain.ts MODEL_URL [http]`. Over HTTP it writes its address to standard error. It
 * imports only what it needs: it is started often.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Agent from "troupe/Agent"
import * as McpServer from "troupe/McpServer"
import * as OpenAi from "troupe/OpenAi"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"

const [modelUrl = "", transport] = process.argv.slice(2)

const echo = Agent.make("echo", { description: "Says something", instructions: "Say something." })
class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Int, reason: Schema.String }) {}

class Refused extends Schema.TaggedError<Refused>()("Refused", { key: Schema.Redacted(Schema.String) }) {
  override get message(): string {
    return `The key ${this.key} was refused. Ask for another.`
  }
}

class Shared extends Context.Service<Shared, { readonly built: number }>()("test/Shared") {}
let built = 0
const SharedLive = Layer.sync(Shared, () => ({ built: ++built }))

const server = {
  name: "tests",
  version: "1.2.3",
  instructions: "For tests.",
  tools: [
    echo,
    Agent.make("judge", { description: "Judges", instructions: "Judge.", output: Verdict }),
    Runner.make("length", {
      description: "Counts",
      output: Schema.Int,
      run: (text: string) => Effect.succeed(text.length)
    }),
    Runner.make("day", {
      description: "Tells a day",
      output: Schema.Struct({ day: Schema.Date }),
      run: (text: string) => Effect.succeed({ day: new Date(text) })
    }),
    McpServer.tool(Runner.named(echo, "translate"), {
      title: "Translator",
      description: "Translates",
      parameters: Schema.Struct({ text: Schema.String, language: Schema.Literals(["de", "fr"]) }),
      input: ({ language, text }) => `${language}: ${text}`,
      annotations: { readOnlyHint: true, openWorldHint: false }
    }),
    McpServer.tool(Runner.named(echo, "writer"), { progress: McpServer.textProgress }),
    McpServer.tool(Runner.named(echo, "hurried"), { timeout: "50 millis" }),
    Runner.described(Parallel.make("team", { one: echo, two: echo }), "Says it twice"),
    Runner.make("refused", {
      description: "Fails",
      run: (key: string) => Effect.fail(new Refused({ key: Redacted.make(key) }))
    }),
    Runner.make("broken", {
      description: "Throws",
      run: (): Effect.Effect<string> => {
        throw new Error("the password is swordfish")
      }
    }),
    Runner.make("noisy", {
      description: "Writes to standard output",
      run: (text: string) =>
        Effect.gen(function* () {
          console.log("by console.log")
          process.stdout.write("by process.stdout\n")
          yield* Effect.log("by Effect.log")
          return text
        })
    }),
    Runner.make("shared", {
      description: "Tells how often its service was built",
      run: () => Effect.map(Shared, (shared) => String(shared.built))
    })
  ]
} as const

const Model = OpenAi.layer({ model: "m", baseUrl: modelUrl, apiKey: Redacted.make("sk-test"), retry: "none" })

const program = Effect.gen(function* () {
  const served = yield* McpServer.Served
  if (served.url !== undefined) process.stderr.write(`${served.url}\n`)
  yield* served.ended
}).pipe(
  Effect.provide(McpServer.serve({ ...server, ...(transport === "http" ? { http: {} } : {}) })),
  Effect.provide(Layer.merge(Model, SharedLive))
)

NodeRuntime.runMain(program)
