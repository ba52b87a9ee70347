/** Folders of skills for tests: real ones, below one directory that is removed when the tests of the file have ended. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll } from "vitest"

/** Where this test file's folders are. */
export const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "troupe-skills-")))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

let count = 0

/** Writes a file, with the directories above it. */
export const put = (folder: string, name: string, content: string | Uint8Array, mode?: number): string => {
  const file = path.join(folder, name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, content)
  if (mode !== undefined) fs.chmodSync(file, mode)
  return file
}

/** Makes a folder with these files. */
export const folder = (files: Readonly<Record<string, string | Uint8Array>>): string => {
  const made = path.join(root, `${count++}`)
  fs.mkdirSync(made)
  for (const [name, content] of Object.entries(files)) put(made, name, content)
  return made
}

/** A SKILL.md that is as it should be. */
export const skill = (name: string, description = "Does something.", body = "Do it."): string =>
  `---\nname: ${name}\ndescription: ${description}\n---\n\n${body}\n`
