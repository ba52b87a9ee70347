/**
 * The command line. This file declares the commands and turns their ends into exit codes; what a command does is loaded
 * when it is called, so that `--help` is fast.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Argument from "effect/cli/Argument"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import { CliFailure } from "./failure.ts"
import { presenter } from "./output.ts"
import { err, quietPipes, readerIsGone } from "./terminal.ts"
import { oneLine } from "../internal/text.ts"
import { messageOf } from "../internal/message.ts"
import { version } from "../internal/version.generated.ts"

const model = Flag.String("model").pipe(
  Flag.withDescription(
    "a model by name: openai:NAME, anthropic:NAME, google:NAME, ollama:NAME, compatible:NAME@URL, llamacpp:FILE or demo; without the flag OpenAI, when OPENAI_API_KEY or OPENAI_BASE_URL is set"
  ),
  Flag.optional
)
const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Write every event as a line of JSON"),
  Flag.withDefault(false)
)

const run = Command.make(
  "run",
  {
    agent: Flag.String("agent").pipe(
      Flag.withDescription(
        "A file that exports an agent as default; it is loaded, so its code runs. Without it, the built-in assistant"
      ),
      Flag.optional
    ),
    model,
    json,
    question: Argument.String("question").pipe(
      Argument.withDescription(
        "The question, quoted; - or nothing reads standard input. Before it may stand a .yaml or .json file that describes an agent"
      ),
      Argument.optional
    ),
    more: Argument.String("then").pipe(
      Argument.withDescription("The question, where a file that describes an agent stands before it"),
      Argument.optional
    )
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./run.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Ask an agent"),
  Command.withExamples([
    { command: 'troupe run --model demo "What is 2 + 40?"' },
    { command: 'troupe run --agent agent.ts "Who wrote Faust?"', description: "Ask an agent of yours" },
    { command: 'troupe run agent.yaml "Who wrote Faust?"', description: "Ask an agent that a file describes" }
  ])
)

const db = Flag.String("db").pipe(
  Flag.withDescription("The database: a SQLite file, or postgres://... with @effect/sql-pg"),
  Flag.optional
)

const chat = Command.make(
  "chat",
  {
    agent: Flag.String("agent").pipe(
      Flag.withDescription(
        "A file that exports an agent as default; it is loaded, so its code runs. Without it, the built-in assistant"
      ),
      Flag.optional
    ),
    session: Flag.String("session").pipe(
      Flag.withDescription("Keep the conversation under this id, or go on with it; without it, it ends with the chat"),
      Flag.optional
    ),
    db,
    model
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./chat.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Talk to an agent, over turns"),
  Command.withExamples([
    { command: "troupe chat --model demo" },
    { command: "troupe chat --agent agent.ts --session ada", description: "Go on with a conversation in troupe.db" }
  ])
)

const trace = Command.make(
  "trace",
  {
    db,
    json,
    limit: Flag.Int("limit").pipe(Flag.withDescription("How many runs are listed"), Flag.withDefault(20)),
    runner: Flag.String("runner").pipe(Flag.withDescription("Runs of this runner"), Flag.optional),
    session: Flag.String("session").pipe(Flag.withDescription("Runs of this session"), Flag.optional),
    status: Flag.Literals("status", ["running", "completed", "failed", "interrupted", "suspended"]).pipe(
      Flag.withDescription("Runs that ended so"),
      Flag.optional
    ),
    error: Flag.String("error").pipe(
      Flag.withDescription("Runs that failed with this error, such as ModelError"),
      Flag.optional
    ),
    playground: Flag.Boolean("playground").pipe(
      Flag.withDescription(
        "Show the runs as a page on this machine, until it is stopped; the argument is the database then"
      ),
      Flag.withDefault(false)
    ),
    port: Flag.Int("port").pipe(Flag.withDescription("The port of the page (0: any)"), Flag.withDefault(0)),
    run: Argument.String("run").pipe(
      Argument.withDescription("The id of a run, to show it as a waterfall; with --json, its events"),
      Argument.optional
    )
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./trace.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("List the runs that a database of traces holds, or show one"),
  Command.withExamples([
    { command: "troupe trace --status failed" },
    { command: "troupe trace --db troupe.db run_1a2b", description: "One run as a waterfall" },
    { command: "troupe trace --playground runs.db", description: "All of them as a page" }
  ])
)

const review = Command.make(
  "review",
  {
    model,
    json,
    reviewers: Flag.String("reviewers").pipe(
      Flag.withDescription(
        "Which reviewers, separated by commas: correctness, clarity, style and security with a model; links, structure and prose without one. By default all of them"
      ),
      Flag.optional
    ),
    concurrency: Flag.Int("concurrency").pipe(
      Flag.withDescription("How many files are reviewed at once"),
      Flag.withDefault(4)
    ),
    files: Argument.String("file").pipe(
      Argument.withDescription("The text files to review; Markdown without a model"),
      Argument.atLeast(1)
    )
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./review.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Let several reviewers look at files, and write one report"),
  Command.withExamples([
    { command: "troupe review README.md", description: "Without a model the reviewers are functions" },
    { command: "troupe review --model openai:gpt-4.1-mini README.md src/*.ts" }
  ])
)

const evaluate = Command.make(
  "eval",
  {
    model,
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Write each report as a line of JSON in place of tables"),
      Flag.withDefault(false)
    ),
    junit: Flag.String("junit").pipe(Flag.withDescription("Write JUnit's XML to this file"), Flag.optional),
    save: Flag.String("save").pipe(
      Flag.withDescription("Write the reports to this file, for --compare"),
      Flag.optional
    ),
    compare: Flag.String("compare").pipe(
      Flag.withDescription("Say what differs from the reports in this file, which --save wrote"),
      Flag.optional
    ),
    cache: Flag.String("cache").pipe(
      Flag.withDescription("Keep runs and scores in this folder, and do only what is not there"),
      Flag.optional
    ),
    concurrency: Flag.Int("concurrency").pipe(
      Flag.withDescription("How many runs are at work at once; by default as the evaluation says, or 4"),
      Flag.optional
    ),
    limit: Flag.Int("limit").pipe(Flag.withDescription("Only so many cases"), Flag.optional),
    files: Argument.String("file").pipe(
      Argument.withDescription("Files that export evaluations; they are loaded, so their code runs"),
      Argument.atLeast(1)
    )
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./eval.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Evaluate agents and workflows; exits with 1 where a gate does not hold"),
  Command.withExamples([
    { command: "troupe eval --model openai:gpt-4.1-mini answers.eval.ts" },
    {
      command: "troupe eval --cache .evals --junit report.xml --save now.ndjson --compare before.ndjson answers.eval.ts"
    }
  ])
)

const graph = Command.make(
  "graph",
  {
    name: Flag.String("name").pipe(Flag.withDescription("Which of its runners; by default all of them"), Flag.optional),
    events: Flag.String("events").pipe(
      Flag.withDescription("A file of events (--json writes them), to show what became of a run; - is standard input"),
      Flag.optional
    ),
    file: Argument.String("file").pipe(Argument.withDescription("A file that exports runners"))
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./graph.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Draw agents and workflows as a Mermaid flowchart"),
  Command.withExamples([{ command: "troupe graph agents.ts" }])
)

const mcp = Command.make(
  "mcp",
  {
    model,
    http: Flag.Int("http").pipe(
      Flag.withDescription("Listen on this port of this machine (0: any) instead of standard input and output"),
      Flag.optional
    ),
    memory: Flag.String("memory").pipe(
      Flag.withDescription("Serve the memories of this namespace, as tools and resources, from the database"),
      Flag.optional
    ),
    skills: Flag.String("skills").pipe(
      Flag.withDescription("Serve the skills in this folder, as prompts, tools and resources"),
      Flag.optional
    ),
    db,
    file: Argument.String("file").pipe(
      Argument.withDescription("A file that exports runners: each becomes a tool"),
      Argument.optional
    )
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./mcp.ts")),
      (command) => command.run({ ...input, version })
    )
).pipe(
  Command.withDescription("Serve agents and workflows as tools, over the Model Context Protocol"),
  Command.withExamples([
    { command: "troupe mcp --http 8080 agents.ts" },
    { command: "troupe mcp --memory team --db team.db", description: "A memory for other hosts, without a file" }
  ])
)

const acp = Command.make(
  "acp",
  {
    model,
    db,
    name: Flag.String("name").pipe(Flag.withDescription("Which of its runners; by default the first"), Flag.optional),
    file: Argument.String("file").pipe(Argument.withDescription("A file that exports an agent"))
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./acp.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Serve an agent to an editor, over the Agent Client Protocol"),
  Command.withExamples([{ command: "troupe acp --db troupe.db agent.ts", description: "With sessions that are kept" }])
)

const serve = Command.make(
  "serve",
  {
    model,
    port: Flag.Int("port").pipe(Flag.withDescription("The port to listen on (0: any)"), Flag.withDefault(3000)),
    host: Flag.String("host").pipe(
      Flag.withDescription("The address to listen at, which clients call it by; by default this machine only"),
      Flag.optional
    ),
    playground: Flag.Boolean("playground").pipe(
      Flag.withDescription("Serve a page at / to run them and to see what happens"),
      Flag.withDefault(false)
    ),
    expose: Flag.String("expose").pipe(
      Flag.withDescription(
        "What clients see beyond text, tool calls by name, and usage: arguments, results, reasoning, nested and errors, separated by commas; all or none. By default all with --playground on this machine only, and none otherwise"
      ),
      Flag.optional
    ),
    db,
    file: Argument.String("file").pipe(Argument.withDescription("A file that exports runners"))
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./serve.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Serve agents and workflows over HTTP"),
  Command.withExamples([
    { command: "troupe serve --port 8080 agents.ts" },
    { command: "troupe serve --playground --model demo agents.ts", description: "With a page to try them" },
    { command: "troupe serve --db troupe.db agents.ts", description: "With conversations and traces that are kept" }
  ])
)

const database = Flag.String("database").pipe(
  Flag.withDescription("Where durable runs are kept: a file of SQLite, or postgres://...; by default TROUPE_DATABASE"),
  Flag.optional
)

const worker = Command.make(
  "worker",
  {
    database,
    model,
    file: Argument.String("file").pipe(Argument.withDescription("A file that exports durable runners"))
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./worker.ts")),
      (command) => command.run(input)
    )
).pipe(
  Command.withDescription("Execute durable runs, until it is stopped"),
  Command.withExamples([{ command: "troupe worker --database runs.db orders.ts" }])
)

const oneRun = {
  database,
  name: Argument.String("name").pipe(Argument.withDescription("The name of the durable definition")),
  key: Argument.String("key").pipe(Argument.withDescription("The key of the run"))
}
const runsCommand = Effect.promise(() => import("./runs.ts"))

const runs = Command.make("runs").pipe(
  Command.withDescription("List, show, cancel, answer and retry durable runs"),
  Command.withSubcommands([
    Command.make(
      "list",
      {
        database,
        json,
        name: Flag.String("name").pipe(Flag.withDescription("Only runs of this definition"), Flag.optional),
        status: Flag.Literals("status", ["queued", "running", "suspended", "completed", "failed", "interrupted"]).pipe(
          Flag.withDescription("Only runs in this state"),
          Flag.optional
        ),
        limit: Flag.Int("limit").pipe(Flag.withDescription("How many at most"), Flag.withDefault(50))
      },
      (input) => Effect.flatMap(runsCommand, (command) => command.list(input))
    ).pipe(Command.withDescription("List runs, the one that changed last first")),
    Command.make("show", { ...oneRun, json }, (input) =>
      Effect.flatMap(runsCommand, (command) => command.show(input))
    ).pipe(Command.withDescription("Show a run, what it waits for, and its steps")),
    Command.make("cancel", oneRun, (input) => Effect.flatMap(runsCommand, (command) => command.cancel(input))).pipe(
      Command.withDescription("Interrupt a run")
    ),
    Command.make("retry", oneRun, (input) => Effect.flatMap(runsCommand, (command) => command.retry(input))).pipe(
      Command.withDescription("Have a run that failed or was interrupted go on")
    ),
    Command.make(
      "answer",
      {
        ...oneRun,
        id: Argument.String("id").pipe(Argument.withDescription("What is answered, as `troupe runs show` lists it")),
        happened: Flag.String("happened").pipe(
          Flag.withDescription("The step has happened, with this result, as JSON"),
          Flag.optional
        ),
        notHappened: Flag.Boolean("not-happened").pipe(
          Flag.withDescription("The step has not happened: make it again"),
          Flag.withDefault(false)
        ),
        giveUp: Flag.Boolean("give-up").pipe(Flag.withDescription("Fail the run"), Flag.withDefault(false)),
        approve: Flag.Boolean("approve").pipe(Flag.withDescription("Approve the call"), Flag.withDefault(false)),
        deny: Flag.String("deny").pipe(Flag.withDescription("Deny the call, for this reason"), Flag.optional),
        signal: Flag.String("signal").pipe(Flag.withDescription("Send this JSON as the signal"), Flag.optional)
      },
      (input) => Effect.flatMap(runsCommand, (command) => command.answer(input))
    ).pipe(Command.withDescription("Answer what a run waits for"))
  ])
)

const troupe = Command.make("troupe").pipe(
  Command.withDescription("Agents that start together, stop together, and say what went wrong"),
  Command.withSubcommands([run, chat, trace, evaluate, review, graph, mcp, acp, serve, worker, runs])
)

let signal: "SIGINT" | "SIGTERM" = "SIGINT"
process.once("SIGTERM", () => {
  signal = "SIGTERM"
})
quietPipes()

const main = Command.runWith(troupe, { version })(process.argv.slice(2)).pipe(
  // As a finalizer: an interrupted program has to say so too.
  Effect.onError((cause) => {
    // What ends because its reader is gone need not be an interruption: a branch of a group that ends is a failure of it.
    if (readerIsGone()) return Effect.void
    if (Cause.hasInterruptsOnly(cause)) return err("troupe: interrupted\n")
    const error = Cause.squash(cause)
    // The presenter has already said what is wrong with the usage.
    if (Predicate.hasProperty(error, "_tag") && error._tag === "ShowHelp") return Effect.void
    return err(`troupe: ${oneLine(messageOf(error))}\n`)
  }),
  Effect.provide(Layer.mergeAll(NodeServices.layer, CliOutput.layerPresenter(presenter)))
)

const codeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (readerIsGone()) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return signal === "SIGTERM" ? 143 : 130
  const error = Cause.squash(exit.cause)
  if (error instanceof CliFailure) return error.code
  return Predicate.hasProperty(error, "_tag") && String(error._tag) === "ShowHelp" ? 2 : 1
}

NodeRuntime.runMain(main, { disableErrorReporting: true, teardown: (exit, onExit) => onExit(codeOf(exit)) })
