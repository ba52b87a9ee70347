/** Files in memory, as Effect's port. There are no links in it. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import { InvalidDefinition } from "../../../RunError.ts"
import { type FileToolError, toError } from "../../internal/files/errors.ts"
import { namesOf, parentOf } from "../../internal/files/names.ts"
import * as Files from "./fileSystem.ts"

interface Stored {
  bytes: Uint8Array
  mode: number
  at: Date
}

/** How many bytes all files may have together. */
const maxBytes = 256 * 1024 * 1024

interface Store {
  readonly files: Map<string, Stored>
  readonly directories: Set<string>
}

/** A file system with these files. */
export const make = (initial: Readonly<Record<string, string | Uint8Array>>): FileSystem.FileSystem => {
  const store: Store = { files: new Map(), directories: new Set(["/"]) }
  for (const [path, content] of Object.entries(initial)) {
    const names = namesOf(path)
    if (names === undefined) {
      const problem = `the path ${JSON.stringify(path)} of its files leads out of it`
      throw new InvalidDefinition({ subject: "Sandbox.layerMemory", problem, remedy: "Begin it at the workspace" })
    }
    const at = `/${names.join("/")}`
    makeAbove(store, at)
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content.slice()
    store.files.set(at, { bytes, mode: 0o644, at: new Date(0) })
  }
  const info = (method: string) => (path: string) => attempt(method, path, () => infoAt(store, path))
  return Files.make({
    stat: info("stat"),
    lstat: info("lstat"),
    realPath: (path) => attempt("realPath", path, () => (infoAt(store, path), path)),
    list: (path) => attempt("readDirectoryEntries", path, () => listAt(store, path)),
    open: (path, how) => attempt("open", path, () => openAt(store, path, how)),
    write: (path, bytes, mode) =>
      attempt("writeFile", path, () => {
        makeAbove(store, path)
        if (store.directories.has(path)) throw problem(path, "EISDIR")
        grow(store, path, bytes.length)
        store.files.set(path, { bytes: bytes.slice(), mode: store.files.get(path)?.mode ?? mode, at: new Date() })
      }),
    makeDirectory: (path, recursive) => makeDirectory(store, path, recursive),
    remove: (path, recursive) => attempt("remove", path, () => removeAt(store, path, recursive)),
    rename: (from, to) => attempt("rename", from, () => renameAt(store, from, to)),
    chmod: (path, mode) =>
      attempt("chmod", path, () => {
        infoAt(store, path)
        const file = store.files.get(path)
        if (file !== undefined) file.mode = mode & 0o777
      })
  })
}

const problem = (path: string, code: "ENOENT" | "EISDIR" | "ENOTEMPTY" | "EFBIG"): FileToolError =>
  toError(path, { code })

const attempt = <A>(method: string, path: string, work: () => A) =>
  Effect.try({ try: work, catch: (cause) => Files.failure(method, path, toError(path, cause)) })

const makeAbove = (store: Store, path: string): void => {
  const names = (namesOf(path) ?? []).slice(0, -1)
  for (let n = 1; n <= names.length; n++) {
    const above = `/${names.slice(0, n).join("/")}`
    if (store.files.has(above)) throw problem(path, "EISDIR")
    store.directories.add(above)
  }
}

const grow = (store: Store, path: string, length: number): void => {
  let all = length
  for (const [name, { bytes }] of store.files) if (name !== path) all += bytes.length
  if (all > maxBytes) throw problem(path, "EFBIG")
}

const infoAt = (store: Store, path: string): FileSystem.File.Info => {
  const file = store.files.get(path)
  if (file !== undefined) return Files.infoOf("File", file.bytes.length, { mode: file.mode, mtime: file.at, nlink: 1 })
  if (!store.directories.has(path)) throw problem(path, "ENOENT")
  return Files.infoOf("Directory", 0)
}

const listAt = (store: Store, path: string): ReadonlyArray<FileSystem.DirectoryEntry> => {
  if (infoAt(store, path).type !== "Directory") throw problem(path, "EISDIR")
  const found: Array<FileSystem.DirectoryEntry> = []
  const add = (type: FileSystem.File.Type) => (at: string) => {
    if (at !== "/" && parentOf(at) === path) found.push({ name: at.slice(at.lastIndexOf("/") + 1), type })
  }
  for (const at of store.directories) add("Directory")(at)
  for (const at of store.files.keys()) add("File")(at)
  return found
}

const makeDirectory = (store: Store, path: string, recursive: boolean) => {
  const isThere = store.directories.has(path) || store.files.has(path)
  if (isThere && !(recursive && store.directories.has(path))) return Effect.fail(Files.taken("makeDirectory", path))
  return attempt("makeDirectory", path, () => {
    if (!recursive && !store.directories.has(parentOf(path))) throw problem(path, "ENOENT")
    makeAbove(store, path)
    store.directories.add(path)
  })
}

const below = (path: string) => (at: string) => path === "/" || at === path || at.startsWith(`${path}/`)

const removeAt = (store: Store, path: string, recursive: boolean): void => {
  if (path === "/") throw problem(path, "EISDIR")
  if (infoAt(store, path).type === "Directory" && !recursive && listAt(store, path).length > 0) {
    throw problem(path, "ENOTEMPTY")
  }
  for (const at of [...store.files.keys()].filter(below(path))) store.files.delete(at)
  for (const at of [...store.directories].filter(below(path))) store.directories.delete(at)
}

const renameAt = (store: Store, from: string, to: string): void => {
  const { type } = infoAt(store, from)
  const isMisfit = store.directories.has(to) || (type === "Directory" && store.files.has(to))
  if (from === "/" || isMisfit || `${to}/`.startsWith(`${from}/`)) throw problem(to, "EISDIR")
  makeAbove(store, to)
  for (const at of [...store.directories].filter(below(from))) {
    store.directories.delete(at)
    store.directories.add(to + at.slice(from.length))
  }
  for (const at of [...store.files.keys()].filter(below(from))) {
    const file = store.files.get(at)!
    store.files.delete(at)
    store.files.set(to + at.slice(from.length), file)
  }
}

const openAt = (store: Store, path: string, { flag, mode }: Files.Opening): FileSystem.File => {
  const isThere = store.files.has(path)
  if (store.directories.has(path)) throw problem(path, "EISDIR")
  if (!isThere && flag.startsWith("r")) throw problem(path, "ENOENT")
  if (isThere && flag.includes("x")) throw Object.assign(new Error("it exists"), { code: "EEXIST" })
  if (!isThere) {
    makeAbove(store, path)
    store.files.set(path, { bytes: new Uint8Array(), mode, at: new Date() })
  }
  const file = store.files.get(path)!
  if (flag.startsWith("w")) file.bytes = new Uint8Array()
  return fileOf(store, path, file, flag.startsWith("a"))
}

/** An open file goes on as itself when it is renamed or removed. */
const fileOf = (store: Store, path: string, file: Stored, isAppended: boolean): FileSystem.File => {
  const resize = (length: number) => {
    grow(store, path, length)
    const bytes = new Uint8Array(length)
    bytes.set(file.bytes.subarray(0, length))
    file.bytes = bytes
    file.at = new Date()
  }
  return Files.fileOf({
    stat: Effect.sync(() => Files.infoOf("File", file.bytes.length, { mode: file.mode, mtime: file.at, nlink: 1 })),
    read: (at, size) => Effect.sync(() => file.bytes.slice(at, at + size)),
    write: (at, bytes) =>
      attempt("write", path, () => {
        if (at + bytes.length > file.bytes.length) resize(at + bytes.length)
        file.bytes.set(bytes, at)
        file.at = new Date()
        return bytes.length
      }),
    truncate: (length) => attempt("truncate", path, () => resize(length)),
    ...(isAppended ? { end: Effect.sync(() => file.bytes.length) } : {})
  })
}
