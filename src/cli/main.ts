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

/** A flag with a text, that may be left out. */
const text = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)
const yes = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))
const count = (name: string, description: string) => Flag.Int(name).pipe(Flag.withDescription(description))
const argument = (name: string, description: string) =>
  Argument.String(name).pipe(Argument.withDescription(description))

/** Does what a module says, which is loaded then. */
const loading =
  <Input, A, E, R>(load: () => Promise<{ readonly run: (input: Input) => Effect.Effect<A, E, R> }>) =>
  (input: Input): Effect.Effect<A, E, R> =>
    Effect.flatMap(Effect.promise(load), ({ run }) => run(input))

const agent = text(
  "agent",
  "A file that exports an agent as default; it is loaded, so its code runs. Without it, the built-in assistant"
)
const name = text("name", "Which of the file's runners; by default the one exported as default, or as agent")
const model = text(
  "model",
  "a model by name: openai:NAME, anthropic:NAME, google:NAME, ollama:NAME, compatible:NAME@URL, llamacpp:FILE or demo; without the flag OpenAI, when OPENAI_API_KEY or OPENAI_BASE_URL is set"
)
const json = yes("json", "Write every event as a line of JSON")
const db = text("db", "The database: a SQLite file, or postgres://... with @effect/sql-pg")
const database = text(
  "database",
  "Where durable runs are kept: a file of SQLite, or postgres://...; by default TROUPE_DATABASE"
  // As the other commands name theirs.
).pipe(Flag.withAlias("db"))
const runners = argument("file", "A file that exports runners")

const run = Command.make(
  "run",
  {
    agent,
    name,
    model,
    json,
    question: argument(
      "file",
      "A .yaml or .json file that describes an agent. Without one, the question stands in its place"
    ).pipe(Argument.optional),
    more: argument("question", "The question, quoted; - or nothing reads standard input").pipe(Argument.optional)
  },
  loading(() => import("./run.ts"))
).pipe(
  Command.withDescription("Ask an agent"),
  Command.withExamples([
    { command: 'troupe run --model demo "What is 2 + 40?"' },
    { command: 'troupe run --agent agent.ts "Who wrote Faust?"', description: "Ask an agent of yours" },
    { command: 'troupe run agent.yaml "Who wrote Faust?"', description: "Ask an agent that a file describes" }
  ])
)

const chat = Command.make(
  "chat",
  {
    agent,
    name,
    session: text(
      "session",
      "Keep the conversation under this id, or go on with it; without it, it ends with the chat"
    ),
    db,
    model
  },
  loading(() => import("./chat.ts"))
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
    limit: count("limit", "How many runs are listed").pipe(Flag.withDefault(20)),
    runner: text("runner", "Runs of this runner"),
    session: text("session", "Runs of this session"),
    status: Flag.Literals("status", ["running", "completed", "failed", "interrupted", "suspended"]).pipe(
      Flag.withDescription("Runs that ended so"),
      Flag.optional
    ),
    error: text("error", "Runs that failed with this error, such as ModelError"),
    playground: yes(
      "playground",
      "Show the runs as a page on this machine, until it is stopped; the argument is the database then"
    ),
    port: count("port", "The port of the page (0: any)").pipe(Flag.withDefault(0)),
    run: argument("run", "The id of a run, to show it as a waterfall; with --json, its events").pipe(Argument.optional)
  },
  loading(() => import("./trace.ts"))
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
    reviewers: text(
      "reviewers",
      "Which reviewers, separated by commas: correctness, clarity, style and security with a model; links, structure and prose without one. By default all of them"
    ),
    concurrency: count("concurrency", "How many files are reviewed at once").pipe(Flag.withDefault(4)),
    files: argument("file", "The text files to review; Markdown without a model").pipe(Argument.atLeast(1))
  },
  loading(() => import("./review.ts"))
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
    json: yes("json", "Write each report as a line of JSON in place of tables"),
    junit: text("junit", "Write JUnit's XML to this file"),
    save: text("save", "Write the reports to this file, for --compare"),
    compare: text("compare", "Say what differs from the reports in this file, which --save wrote"),
    cache: text("cache", "Keep runs and scores in this folder, and do only what is not there"),
    concurrency: count(
      "concurrency",
      "How many runs are at work at once; by default as the evaluation says, or 4"
    ).pipe(Flag.optional),
    limit: count("limit", "Only so many cases").pipe(Flag.optional),
    files: argument("file", "Files that export evaluations; they are loaded, so their code runs").pipe(
      Argument.atLeast(1)
    )
  },
  loading(() => import("./eval.ts"))
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
    name: text("name", "Which of its runners; by default all of them"),
    events: text("events", "A file of events (--json writes them), to show what became of a run; - is standard input"),
    file: runners
  },
  loading(() => import("./graph.ts"))
).pipe(
  Command.withDescription("Draw agents and workflows as a Mermaid flowchart"),
  Command.withExamples([{ command: "troupe graph agents.ts" }])
)

const mcp = Command.make(
  "mcp",
  {
    model,
    http: count("http", "Listen on this port of this machine (0: any) instead of standard input and output").pipe(
      Flag.optional
    ),
    memory: text("memory", "Serve the memories of this namespace, as tools and resources, from the database"),
    skills: text("skills", "Serve the skills in this folder, as prompts, tools and resources"),
    db,
    file: argument("file", "A file that exports runners: each becomes a tool").pipe(Argument.optional)
  },
  loading(() => import("./mcp.ts"))
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
    name: text("name", "Which of its runners; by default the first"),
    file: argument("file", "A file that exports an agent")
  },
  loading(() => import("./acp.ts"))
).pipe(
  Command.withDescription("Serve an agent to an editor, over the Agent Client Protocol"),
  Command.withExamples([{ command: "troupe acp --db troupe.db agent.ts", description: "With sessions that are kept" }])
)

const serve = Command.make(
  "serve",
  {
    model,
    port: count("port", "The port to listen on (0: any)").pipe(Flag.withDefault(3000)),
    host: text("host", "The address to listen at, which clients call it by; by default this machine only"),
    playground: yes("playground", "Serve a page at / to run them and to see what happens"),
    expose: text(
      "expose",
      "What clients see beyond text, tool calls by name, and usage: arguments, results, reasoning, nested and errors, separated by commas; all or none. By default all with --playground on this machine only, and none otherwise"
    ),
    db,
    file: runners
  },
  loading(() => import("./serve.ts"))
).pipe(
  Command.withDescription("Serve agents and workflows over HTTP"),
  Command.withExamples([
    { command: "troupe serve --port 8080 agents.ts" },
    { command: "troupe serve --playground --model demo agents.ts", description: "With a page to try them" },
    { command: "troupe serve --db troupe.db agents.ts", description: "With conversations and traces that are kept" }
  ])
)

const worker = Command.make(
  "worker",
  { database, model, file: argument("file", "A file that exports durable runners") },
  loading(() => import("./worker.ts"))
).pipe(
  Command.withDescription("Execute durable runs, until it is stopped"),
  Command.withExamples([{ command: "troupe worker --database runs.db orders.ts" }])
)

const oneRun = {
  database,
  name: argument("name", "The name of the durable definition"),
  key: argument("key", "The key of the run")
}
const durable = () => import("./runs.ts")

const runs = Command.make("runs").pipe(
  Command.withDescription("List, show, cancel, answer and retry durable runs"),
  Command.withSubcommands([
    Command.make(
      "list",
      {
        database,
        json,
        name: text("name", "Only runs of this definition"),
        status: Flag.Literals("status", ["queued", "running", "suspended", "completed", "failed", "interrupted"]).pipe(
          Flag.withDescription("Only runs in this state"),
          Flag.optional
        ),
        limit: count("limit", "How many at most").pipe(Flag.withDefault(50))
      },
      loading(() => durable().then(({ list }) => ({ run: list })))
    ).pipe(Command.withDescription("List runs, the one that changed last first")),
    Command.make(
      "show",
      { ...oneRun, json },
      loading(() => durable().then(({ show }) => ({ run: show })))
    ).pipe(Command.withDescription("Show a run, what it waits for, and its steps")),
    Command.make(
      "cancel",
      oneRun,
      loading(() => durable().then(({ cancel }) => ({ run: cancel })))
    ).pipe(Command.withDescription("Interrupt a run")),
    Command.make(
      "retry",
      oneRun,
      loading(() => durable().then(({ retry }) => ({ run: retry })))
    ).pipe(Command.withDescription("Have a run that failed or was interrupted go on")),
    Command.make(
      "answer",
      {
        ...oneRun,
        id: argument("id", "What is answered, as `troupe runs show` lists it"),
        happened: text("happened", "The step has happened, with this result, as JSON"),
        notHappened: yes("not-happened", "The step has not happened: make it again"),
        giveUp: yes("give-up", "Fail the run"),
        approve: yes("approve", "Approve the call"),
        deny: text("deny", "Deny the call, for this reason"),
        signal: text("signal", "Send this JSON as the signal")
      },
      loading(() => durable().then(({ answer }) => ({ run: answer })))
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
