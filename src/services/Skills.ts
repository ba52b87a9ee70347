/**
 * The port to skills: folders with instructions, files and scripts that an agent reads when it needs them, after the
 * Agent Skills specification (agentskills.io). `layers/skills/Skills.ts` is the public module, with the Layer.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { oneLine } from "../internal/text.ts"

/** The front matter of a skill. Models see the name and the description before anything else. */
export interface Skill {
  readonly name: string
  readonly description: string
  readonly license: string | undefined
  /** Its requirements, such as programs or a network. */
  readonly compatibility: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** Tools that its author thinks it needs. Nothing is allowed by it here. */
  readonly allowedTools: ReadonlyArray<string>
  /** The absolute path of its folder. Models do not see it. */
  readonly location: string
}

/** A problem with a skill, or with a folder that may hold one. */
export class InvalidSkill extends Schema.TaggedError<InvalidSkill>()("InvalidSkill", {
  /** The absolute path of the file or folder. */
  file: Schema.String,
  /** Counted from 1. */
  line: Schema.optionalKey(Schema.Int),
  /** `error`: the skill is left out. `warning`: it is used, without what cannot be used of it. */
  severity: Schema.Literals(["error", "warning"]),
  problem: Schema.String,
  remedy: Schema.String
}) {
  override get message(): string {
    const text = `${this.file}${this.line === undefined ? "" : `:${this.line}`}: ${this.problem}. ${this.remedy}`
    // Anyone may have named the file: its name must not steer a log or a terminal.
    return oneLine(text)
  }
}

/** All that is wrong with the skills of a Layer that is `strict`. */
export class InvalidSkills extends Schema.TaggedError<InvalidSkills>()("InvalidSkills", {
  problems: Schema.Array(InvalidSkill)
}) {
  override get message(): string {
    const lines = this.problems.map(({ message }) => `- ${message}`).join("\n")
    return `${this.problems.length} problem(s) with skills. Fix them, or leave out \`strict\` to use the others:\n${lines}`
  }
}

/** Why a skill could not be read, used or written. The model sees it; no path of the machine is in it. */
export class SkillError extends Schema.TaggedError<SkillError>()("SkillError", {
  skill: Schema.String,
  /** The file, as it was given. */
  path: Schema.optionalKey(Schema.String),
  /**
   * `Outside`: not a path below the skill. `Timeout`, `OutputLimit`: the script was killed. `Unstartable`: it could not
   * be started. `Invalid`: the draft is not a valid skill. `Exists`: there is such a skill already.
   */
  reason: Schema.Literals([
    "NotFound",
    "Outside",
    "WrongKind",
    "Binary",
    "TooLarge",
    "ScriptsOff",
    "Timeout",
    "OutputLimit",
    "Unstartable",
    "Invalid",
    "Exists",
    "System"
  ]),
  detail: Schema.String
}) {
  override get message(): string {
    return `skill "${this.skill}"${this.path === undefined ? "" : `, file "${this.path}"`}: ${this.detail}`
  }
}

/** The skills that can be used now, and what is wrong with others. */
export interface Scan {
  readonly skills: ReadonlyArray<Skill>
  readonly problems: ReadonlyArray<InvalidSkill>
}

/** The instructions of a skill. */
export interface Instructions {
  readonly name: string
  readonly instructions: string
  /** The line of SKILL.md at which the instructions go on, when they are too long to be given at once. */
  readonly continuesAtLine: number | undefined
  readonly compatibility: string | undefined
  /** The paths of its other files. */
  readonly files: ReadonlyArray<string>
  /** True when it has more files than are named. */
  readonly moreFiles: boolean
}

/** Some lines of a file of a skill. Lines are counted from 1. */
export interface FileLines {
  readonly content: string
  readonly from: number
  readonly to: number
  readonly totalLines: number
  /** True when there is more than is given. */
  readonly truncated: boolean
}

/** How a script ended. */
export interface ScriptResult {
  /** `null` when a signal ended it. */
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** True when it wrote more than is given. */
  readonly truncated: boolean
}

/** The input of a script. */
export interface ScriptInput {
  readonly args?: ReadonlyArray<string> | undefined
  /** What it reads from standard input. If unset, its input is empty. */
  readonly input?: string | undefined
}

/** A skill to be written. */
export interface Draft {
  /** 1 to 64 lowercase letters, digits and single hyphens between them. */
  readonly name: string
  /** What it does and when to use it: 1 to 1024 characters. */
  readonly description: string
  /** The instructions, in Markdown. */
  readonly body: string
  /** Further files by their paths, such as `references/forms.md`. Those in `scripts/` can be run. */
  readonly files?: Readonly<Record<string, string | Uint8Array>> | undefined
  readonly license?: string | undefined
  readonly compatibility?: string | undefined
  readonly metadata?: Readonly<Record<string, string>> | undefined
  readonly allowedTools?: ReadonlyArray<string> | undefined
  /** Whether the skill may take the place of one with its name. Default `false`: a name that is taken is an error. */
  readonly replace?: boolean | undefined
  /**
   * Whether an agent writes it and not a person or program. Default `false`. The skill is marked in its metadata. It cannot
   * have scripts, `replace` takes the place of a skill only when an agent wrote that and no person has changed it since, and files
   * of that one that the draft does not name stay.
   */
  readonly byAgent?: boolean | undefined
}

/** Skills in folders. Each call scans the folders. */
export class Skills extends Context.Service<
  Skills,
  {
    /** The skills of now, in order. Fails when the Layer is `strict` and something is wrong. */
    readonly list: Effect.Effect<ReadonlyArray<Skill>, InvalidSkills>
    /** The skills of now and what is wrong. Never fails. */
    readonly scan: Effect.Effect<Scan>
    readonly read: (skill: string) => Effect.Effect<Instructions, SkillError>
    readonly readFile: (
      skill: string,
      path: string,
      lines?: { readonly from?: number | undefined; readonly lines?: number | undefined }
    ) => Effect.Effect<FileLines, SkillError>
    /** Whether scripts may be run, and whether each run needs approval; `undefined` turns them off. */
    readonly scripts: { readonly needsApproval: boolean } | undefined
    /** Runs a script of the skill's `scripts/`. Interruption kills it and what it has started. */
    readonly run: (skill: string, script: string, input?: ScriptInput) => Effect.Effect<ScriptResult, SkillError>
    readonly write: (draft: Draft) => Effect.Effect<Skill, SkillError>
  }
>()("troupe/Skills") {}
