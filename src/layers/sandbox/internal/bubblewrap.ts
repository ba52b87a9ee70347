/**
 * Commands in namespaces of their own, by bubblewrap: they see the workspace, the system's programs read-only, and nothing
 * else of the machine. File tools work on this machine, behind the same fence as everywhere.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as ByteSize from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  assertOneOf,
  assertOptions,
  byteSizeOf,
  countOf,
  namesOf,
  positiveDurationOf
} from "../../../internal/definition.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import type { Service } from "../../../services/Sandbox.ts"
import { environment, programDirectories } from "../../internal/process/environment.ts"
import { variablesOf, wordsOf } from "../../internal/process/plainCommand.ts"
import * as Spawner from "../../internal/process/spawner.ts"
import { below, checked, rootOf, snapshotsOf } from "./local.ts"
import * as RootedFiles from "./rootedFiles.ts"

/** How much one process of a command may use. */
export interface ProcessLimits {
  /** Its address space, as `"1 GiB"`: more than it uses, since programs reserve much that they never touch. */
  readonly memory?: ByteSize.Input | undefined
  /** Its time on a processor. */
  readonly cpu?: Duration.Input | undefined
  /** The largest file that it writes. */
  readonly file?: ByteSize.Input | undefined
  /** How many processes the user may have. It does not hold for root, so the Layer fails there. */
  readonly processes?: number | undefined
}

/** Options of `layerBubblewrap`. */
export interface Options {
  /** The directory that is the workspace; commands see it as `/work`. */
  readonly root: string | URL
  /** `"none"`, the default: not even the own machine can be reached. `"host"`: all that this machine reaches. */
  readonly network?: "none" | "host" | undefined
  /** What commands see of the workspace's own `.git`: all of it, read-only (the default), or nothing. */
  readonly git?: "readonly" | "hidden" | undefined
  readonly limits?: ProcessLimits | undefined
  /** Further files and directories of this machine that commands may read, at the same paths, such as another Node. */
  readonly readOnly?: ReadonlyArray<string> | undefined
  /** Variables for every command, in addition to those that a command names. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** The program. Default: `bwrap`, looked up in `PATH`. */
  readonly bwrap?: string | undefined
}

/** Where commands see the workspace, and their home directory. */
const workspace = "/work"
const home = "/home/agent"
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
const subject = "Sandbox.layerBubblewrap"

const known = namesOf<Options>({
  root: true,
  network: true,
  git: true,
  limits: true,
  readOnly: true,
  env: true,
  bwrap: true
})

const knownOfLimits = namesOf<ProcessLimits>({ memory: true, cpu: true, file: true, processes: true })

const assertLimits = (limits: ProcessLimits): void => {
  assertOptions(`limits of ${subject}`, limits, knownOfLimits)
  const { cpu, file, memory, processes } = limits
  if (cpu !== undefined) positiveDurationOf(subject, "limits.cpu", cpu)
  if (file !== undefined) byteSizeOf(subject, "limits.file", file)
  if (memory !== undefined) byteSizeOf(subject, "limits.memory", memory)
  if (processes !== undefined) countOf(subject, "limits.processes", processes)
}

const invalid = (problem: string, remedy: string) => new InvalidDefinition({ subject, problem, remedy })

/** All that is needed to start a command. */
interface Prepared {
  /** The programs before the command, with their arguments up to the mounts. */
  readonly launcher: ReadonlyArray<string>
  readonly mounts: ReadonlyArray<string>
  readonly user: { readonly uid: number; readonly gid: number } | undefined
  readonly env: Readonly<Record<string, string>>
}

/** The service. Fails when no command can be run in a sandbox here. */
export const make = (options: Options): Effect.Effect<Service, InvalidDefinition> =>
  Effect.gen(function* () {
    yield* checked(() => {
      assertOptions(subject, options, known)
      assertOneOf(subject, "network", options.network, ["none", "host"])
      assertOneOf(subject, "git", options.git, ["readonly", "hidden"])
      assertLimits(options.limits ?? {})
    })
    const root = yield* rootOf(subject, options.root)
    const plan = yield* Effect.try({
      try: () => planOf(root, options),
      catch: (cause) => (cause instanceof InvalidDefinition ? cause : invalid(String(cause), "See the problem"))
    })
    const files = RootedFiles.make(root)
    const folders = new Map<string, string>()
    return {
      files,
      processes: spawner(plan, folders),
      info: {
        name: "bubblewrap",
        description: describe(options),
        cwd: workspace,
        isolates: { files: true, network: options.network !== "host", processes: true },
        edges: "both"
      },
      snapshots: snapshotsOf(root, files),
      folder: (name, location) =>
        Effect.sync(() => {
          const at = `/skills/${name.replace(/[^\w.-]/g, "_")}`
          folders.set(at, location)
          return at
        })
    }
  })

const describe = ({ network = "none" }: Options): string => {
  const reach = network === "none" ? "Commands have no network." : "Commands can use the network of the machine."
  return `A Linux sandbox. The workspace is ${workspace}, and nothing else can be changed but /tmp. ${reach}`
}

const planOf = (root: string, options: Options): Prepared => {
  const owner = fs.statSync(root)
  const isRoot = process.getuid?.() === 0
  // Without its capabilities, root cannot write what belongs to another user.
  const user = isRoot && owner.uid !== 0 ? { uid: owner.uid, gid: owner.gid } : undefined
  if (options.limits?.processes !== undefined && isRoot && user === undefined) {
    const problem = "limits.processes does not hold for root"
    throw invalid(problem, "Run the program as another user, or give the workspace to another user: chown -R")
  }
  const bwrap = options.bwrap ?? find("bwrap")
  if (bwrap === undefined) {
    const problem = "there is no bubblewrap on this machine (bwrap is not in PATH)"
    throw invalid(
      problem,
      "Install it (apt-get install bubblewrap), or choose another Layer; commands never run without it"
    )
  }
  const plan: Prepared = {
    launcher: [...limitsOf(options.limits), bwrap],
    mounts: [...mountsOf(root, options), ...namespaces(options)],
    user,
    env: environmentOf(options.env)
  }
  probe(plan)
  return plan
}

const environmentOf = (env: Options["env"]): Readonly<Record<string, string>> => {
  const surroundings = { cwd: workspace, env: { PATH: searchPath, TMPDIR: "/tmp", ...env } }
  return { ...environment(surroundings, home), PATH: surroundings.env.PATH }
}

const find = (name: string): string | undefined =>
  programDirectories({ cwd: "/nonexistent", env: {} })
    .map((directory) => path.join(directory, name))
    .find((file) => fs.existsSync(file))

/** Limits of the kernel on each process, set by a program that then becomes bubblewrap. */
const limitsOf = (limits: ProcessLimits = {}): ReadonlyArray<string> => {
  const { cpu, file, memory, processes } = limits
  const bytes = (size: ByteSize.Input) => String(ByteSize.fromInputUnsafe(size))
  const given = [
    ...(memory === undefined ? [] : [`--as=${bytes(memory)}`]),
    ...(file === undefined ? [] : [`--fsize=${bytes(file)}`]),
    ...(cpu === undefined
      ? []
      : [`--cpu=${Math.max(1, Math.ceil(Duration.toSeconds(Duration.fromInputUnsafe(cpu))))}`]),
    ...(processes === undefined ? [] : [`--nproc=${processes}`])
  ]
  if (given.length === 0) return []
  const prlimit = find("prlimit")
  if (prlimit === undefined) throw invalid("there is no prlimit in PATH for its limits", "Install util-linux")
  return [prlimit, ...given]
}

/** What a command sees of the machine. */
const mountsOf = (root: string, { git = "readonly", network, readOnly = [] }: Options): ReadonlyArray<string> => {
  const system = ["/bin", "/sbin", "/lib", "/lib32", "/lib64"].flatMap((directory) => {
    const stat = fs.lstatSync(directory, { throwIfNoEntry: false })
    if (stat === undefined) return []
    return stat.isSymbolicLink()
      ? ["--symlink", fs.readlinkSync(directory), directory]
      : ["--ro-bind", directory, directory]
  })
  const settings = ["/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime"]
  const names = network === "host" ? ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl"] : []
  const given = readOnly.map((file) => {
    if (path.isAbsolute(file) && fs.existsSync(file)) return file
    throw invalid(`readOnly names ${JSON.stringify(file)}`, "Give absolute paths that exist")
  })
  const own = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", home]
  const bound = ["--bind", root, workspace]
  return [
    "--ro-bind",
    "/usr",
    "/usr",
    ...system,
    ...[...settings, ...names].flatMap((file) => ["--ro-bind-try", file, file]),
    ...own,
    ...given.flatMap((file) => ["--ro-bind", file, file]),
    ...bound,
    ...gitMounts(root, git)
  ]
}

/** Its configuration and hooks name programs that the next git on this machine runs. */
const gitMounts = (root: string, git: "readonly" | "hidden"): ReadonlyArray<string> => {
  const own = path.join(root, ".git")
  const stat = fs.lstatSync(own, { throwIfNoEntry: false })
  if (stat === undefined) return []
  if (stat.isSymbolicLink()) throw invalid("the .git of its root is a link", "Use a repository or a worktree of git")
  const at = `${workspace}/.git`
  if (git === "hidden") return stat.isDirectory() ? ["--tmpfs", at, "--remount-ro", at] : ["--ro-bind", "/dev/null", at]
  if (stat.isDirectory()) return ["--ro-bind", own, at]
  // The .git of a worktree is a file that names a directory of the main repository.
  const main = /^gitdir: (\/.*)\/worktrees\/[^/\n]+\n?$/.exec(fs.readFileSync(own, "utf8"))?.[1]
  return ["--ro-bind", own, at, ...(main !== undefined && fs.existsSync(main) ? ["--ro-bind", main, main] : [])]
}

const namespaces = ({ network = "none" }: Options): ReadonlyArray<string> => [
  "--unshare-all",
  "--unshare-user",
  "--disable-userns",
  ...(network === "host" ? ["--share-net"] : []),
  // The root of the sandbox itself is last: nothing is mounted in it afterwards.
  "--die-with-parent"
]

/** Runs a command in the sandbox once. Nothing that is missing or forbidden makes commands run without it. */
const probe = ({ env, launcher, mounts, user }: Prepared): void => {
  const [program = "", ...before] = launcher
  const args = [...before, ...mounts, "--remount-ro", "/", "--chdir", workspace, "--", "/bin/sh", "-c", "test -w ."]
  const { error, status, stderr } = spawnSync(program, args, {
    env,
    ...user,
    timeout: 10_000,
    encoding: "utf8"
  })
  if (error === undefined && status === 0) return
  const said = error?.message ?? (stderr.trim() || "the workspace cannot be written in it")
  const isForbidden = /namespace|not permitted|uid map|denied/i.test(said)
  throw invalid(
    `no command can be run in it here: ${said.slice(0, 500)}`,
    isForbidden
      ? "Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu an AppArmor profile for bwrap; in a container a seccomp profile that allows them), or choose another Layer; commands never run without it"
      : "See the problem, or choose another Layer; commands never run without it"
  )
}

const spawner = (plan: Prepared, folders: ReadonlyMap<string, string>) =>
  Spawner.make((command) =>
    Effect.sync(() => {
      const [program = "", ...before] = plan.launcher
      const [name, ...args] = wordsOf(command)
      const skills = [...folders].flatMap(([at, location]) => ["--ro-bind", location, at])
      const inside = [
        "--remount-ro",
        "/",
        "--sync-fd",
        "3",
        "--chdir",
        below(workspace, command.options.cwd),
        "--",
        name
      ]
      return {
        name,
        command: program,
        args: [...before, ...plan.mounts, ...skills, ...inside, ...args],
        cwd: "/",
        // It is the environment of bubblewrap too, which commands can read in /proc/1/environ.
        env: { ...plan.env, ...variablesOf(command) },
        mark: undefined,
        launches: true,
        user: plan.user
      }
    })
  )
