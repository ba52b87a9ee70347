/**
 * Commands in a container, by Docker's command line: `run` when the sandbox is made, `exec` for each command, `rm` at the end. The
 * workspace is mounted, so file tools work on this machine, behind the same fence as everywhere.
 */
import * as os from "node:os"
import * as fs from "node:fs"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import { assertOptions, byteSizeOf, countOf, namesOf } from "../../../internal/definition.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import type { Service } from "../../../services/Sandbox.ts"
import { variablesOf, wordsOf } from "../../internal/process/plainCommand.ts"
import * as Spawner from "../../internal/process/spawner.ts"
import { below, checked, rootOf, snapshotsOf } from "./local.ts"
import { output } from "./program.ts"
import * as RootedFiles from "./rootedFiles.ts"
import * as SkillCopies from "./skillCopies.ts"

/** Options of `layerDocker`. */
export interface Options {
  /** The image, with a `sh`. */
  readonly image: string
  /** The directory that is the workspace; commands see it as `/work`. */
  readonly root: string | URL
  /** The network of the container: `"none"`, the default, or the name of one of Docker's. */
  readonly network?: string | undefined
  /** The memory of the container. Default 1 GiB. */
  readonly memory?: ByteSize.Input | undefined
  /** How many processes it may have. Default 128. */
  readonly processes?: number | undefined
  /** who commands run as, `UID:GID`. Default: the owner of the workspace. */
  readonly user?: string | undefined
  /** Variables for every command, in addition to those that a command names. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** The program. Default: `docker`, looked up in `PATH`; `podman` takes the same arguments. */
  readonly docker?: string | undefined
}

const known = namesOf<Options>({
  image: true,
  root: true,
  network: true,
  memory: true,
  processes: true,
  user: true,
  env: true,
  docker: true
})

const workspace = "/work"
const skills = "/skills"
const subject = "Sandbox.layerDocker"
const defaultMemory = 1024 ** 3
/** The label of our containers: its value names the process that they belong to. */
const label = "troupe.sandbox"
/** Variables by which the command line finds its engine. */
const passed = [
  "DOCKER_HOST",
  "DOCKER_CONTEXT",
  "DOCKER_CONFIG",
  "DOCKER_TLS_VERIFY",
  "DOCKER_CERT_PATH",
  "HOME",
  "PATH"
]

const invalid = (problem: string) =>
  new InvalidDefinition({
    subject,
    problem,
    remedy: "Start Docker and pull the image, or choose another Layer; commands never run without it"
  })

interface Cli {
  readonly program: string
  readonly env: Readonly<Record<string, string>>
}

/** The service. The container is there for as long as the scope is open. */
export const make = Effect.fnUntraced(function* (options: Options) {
  yield* checked(() => {
    assertOptions(subject, options, known)
    if (options.processes !== undefined) countOf(subject, "processes", options.processes)
    if (options.memory !== undefined) byteSizeOf(subject, "memory", options.memory)
  })
  const root = yield* rootOf(subject, options.root)
  const env = Object.fromEntries(
    passed.flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value] as const]
    })
  )
  const cli: Cli = { program: options.docker ?? "docker", env }
  if (options.image.startsWith("-")) return yield* invalid(`its image is ${JSON.stringify(options.image)}`)
  yield* sweep(cli)
  const shown = yield* SkillCopies.make(subject)
  const container = yield* Effect.acquireRelease(
    Effect.flatMap(docker(cli, argumentsOf(root, shown.directory, options)), (id) =>
      /^[0-9a-f]{12,64}$/.test(id) ? Effect.succeed(id) : Effect.fail(invalid("docker run gave no id of a container"))
    ),
    (id) => Effect.ignore(docker(cli, ["rm", "--force", id]))
  )
  const files = RootedFiles.make(root)
  const network = options.network ?? "none"
  const service: Service = {
    files,
    processes: spawner(cli, container, options.env ?? {}),
    info: {
      name: "docker",
      description: `A container of the image ${options.image}. The workspace is ${workspace}, and nothing else can be changed but /tmp. ${network === "none" ? "Commands have no network." : "Commands have a network."}`,
      cwd: workspace,
      isolates: { files: true, network: network === "none", processes: true },
      edges: "both"
    },
    snapshots: snapshotsOf(root, files),
    folder: (name, _location, content) =>
      Effect.map(Effect.flatMap(content, shown.copy(name)), (path) => `${skills}/${path}`)
  }
  return service
})

const argumentsOf = (root: string, shown: string, options: Options): ReadonlyArray<string> => {
  const { image, memory, network = "none", processes = 128 } = options
  const bytes = memory === undefined ? defaultMemory : ByteSize.fromInputUnsafe(memory)
  const owner = fs.statSync(root)
  const mount = (source: string, target: string, more: string): ReadonlyArray<string> => [
    "--mount",
    `type=bind,src=${source},dst=${target}${more}`
  ]
  const parts: ReadonlyArray<ReadonlyArray<string>> = [
    ["run", "--detach", "--rm", "--init", "--label", `${label}=${ownerOf(process.pid)}`],
    ["--network", network, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
    ["--pids-limit", String(processes), "--memory", String(bytes)],
    ["--read-only", "--tmpfs", "/tmp:exec,mode=1777"],
    mount(root, workspace, ""),
    mount(shown, skills, ",readonly"),
    // Its configuration and hooks name programs that the next git on this machine runs.
    fs.existsSync(`${root}/.git`) ? mount(`${root}/.git`, `${workspace}/.git`, ",readonly") : [],
    ["--workdir", workspace, "--user", options.user ?? `${owner.uid}:${owner.gid}`, "--env", "HOME=/tmp"],
    ["--entrypoint", "sleep", image, "infinity"]
  ]
  return parts.flat()
}

/** Names a process of this machine, whose containers may be removed when it is gone. */
const ownerOf = (pid: number): string => `${os.hostname()}/${pid}`

/** Removes the containers of processes of this machine that are gone without having done so. */
const sweep = (cli: Cli): Effect.Effect<void, InvalidDefinition> =>
  Effect.gen(function* () {
    const format = `{{.ID}} {{.Label "${label}"}}`
    const found = yield* docker(cli, ["ps", "--all", "--filter", `label=${label}`, "--format", format])
    const gone = found.split("\n").flatMap((line) => {
      const [id = "", owner = ""] = line.split(" ")
      const pid = Number(owner.split("/").at(-1))
      return id !== "" && pid > 0 && owner === ownerOf(pid) && !isRunning(pid) ? [id] : []
    })
    if (gone.length > 0) yield* Effect.ignore(docker(cli, ["rm", "--force", ...gone]))
  })

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Runs the command line, and gives what it writes. */
const docker = ({ env, program }: Cli, args: ReadonlyArray<string>): Effect.Effect<string, InvalidDefinition> =>
  output(program, args, { cwd: "/", env }).pipe(
    Effect.mapBoth({
      onSuccess: ({ text }) => text.trim(),
      onFailure: (detail) => invalid(`docker ${args[0]}: ${detail}`)
    })
  )

/** Notes the id of the process in a file, by which it is signalled: ending `docker exec` ends nothing in the container. */
const start = 'echo $$ > "$0"; exec "$@"'
/** Signals the group, gives it time to end, and ends it. */
const stop = `p=$(cat "$0") || exit 0
s() { kill -s "$1" -- "-$p" 2>/dev/null || kill -s "$1" "$p" 2>/dev/null; }
s "$1" || exit 0
test "$1" = KILL && exit 0
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do s 0 || exit 0; sleep 0.1; done
s KILL`

const spawner = (cli: Cli, container: string, common: Readonly<Record<string, string>>) =>
  Spawner.make(
    Effect.fnUntraced(function* (command) {
      const words = wordsOf(command)
      const env = { ...common, ...variablesOf(command) }
      const note = `/tmp/.troupe-${globalThis.crypto.randomUUID()}`
      const signal = (name: string) => Effect.ignore(docker(cli, ["exec", container, "sh", "-c", stop, note, name]))
      // What a command has left running in its group ends with it.
      yield* Effect.addFinalizer(() => signal("KILL"))
      const cwd = below(workspace, command.options.cwd)
      const named = Object.keys(env).flatMap((name) => ["--env", name])
      return {
        name: words[0],
        command: cli.program,
        args: ["exec", "--interactive", "--workdir", cwd, ...named, container, "sh", "-c", start, note, ...words],
        cwd: "/",
        // Values of variables stay out of the command line, which others on this machine can see.
        env: { ...env, ...cli.env },
        mark: undefined,
        onKill: (name: NodeJS.Signals) => signal(name.replace("SIG", ""))
      }
    })
  )
