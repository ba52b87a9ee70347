/** Copies of the folders of skills, in a directory that a container is shown read-only. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { messageOf } from "../../../internal/message.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import { type FolderContent, WorkspaceError } from "../../../services/Sandbox.ts"

/** Where folders are copied. */
export interface SkillCopies {
  readonly directory: string
  /** Copies a folder, once for the same files. Returns its path below the directory. */
  readonly copy: (name: string) => (content: FolderContent) => Effect.Effect<string, WorkspaceError>
}

/** A name as that of a directory. */
export const safeName = (name: string): string => name.replace(/[^\w-]/g, "_").slice(0, 100)

/** A directory that is removed with the scope. */
export const make = (subject: string): Effect.Effect<SkillCopies, InvalidDefinition, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.try({
        // Other users cannot get through the outer one; whom commands run as can read the inner one.
        try: () => {
          const outer = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-skills-"))
          fs.mkdirSync(path.join(outer, "skills"))
          return outer
        },
        catch: (cause) =>
          new InvalidDefinition({
            subject,
            problem: messageOf(cause),
            remedy: "Let it write to the temporary directory"
          })
      }),
      (outer) => Effect.sync(() => fs.rmSync(outer, { recursive: true, force: true }))
    ),
    (outer) => {
      const directory = path.join(outer, "skills")
      return {
        directory,
        copy: (name) => (content) =>
          Effect.try({
            try: () => copy(outer, directory, safeName(name), content),
            catch: (cause) => new WorkspaceError({ reason: "System", detail: messageOf(cause) })
          })
      }
    }
  )

const copy = (outer: string, directory: string, name: string, { files, mark }: FolderContent): string => {
  const target = path.join(directory, mark)
  if (fs.existsSync(target)) return `${mark}/${name}`
  // A script sees all of it or nothing.
  const unfinished = fs.mkdtempSync(path.join(outer, "new-"))
  for (const file of files) {
    const to = path.join(unfinished, name, file.path)
    fs.mkdirSync(path.dirname(to), { recursive: true })
    fs.writeFileSync(to, file.bytes, { flag: "wx" })
    fs.chmodSync(to, file.isExecutable ? 0o755 : 0o644)
  }
  for (const entry of fs.readdirSync(unfinished, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) fs.chmodSync(path.join(entry.parentPath, entry.name), 0o755)
  }
  fs.chmodSync(unfinished, 0o755)
  fs.chmodSync(directory, 0o755)
  fs.renameSync(unfinished, target)
  return `${mark}/${name}`
}
