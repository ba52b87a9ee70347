/** Files that the file tools keep away from: what would run programs of a model's, and what holds secrets. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Exit } from "effect"
import { assert, describe, it } from "vitest"
import { FileTools, RunError } from "troupe"
import { folderOfEachTest } from "../../support/temporaryFolder.ts"
import { call, caller, edges } from "../../support/toolCalls.ts"

let root: string
folderOfEachTest((folder) => {
  root = folder
})
const put = (file: string, text = "secret") => {
  fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
  fs.writeFileSync(path.join(root, file), text)
}
/** All paths below the root, with what is in the files. */
const everything = () =>
  Object.fromEntries(
    fs
      .readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .map((file) => [path.relative(root, file), fs.readFileSync(file, "utf8")])
  )

for (const edge of Object.keys(edges)) {
  const tools = (options: Partial<FileTools.Options> = {}) =>
    caller(FileTools.writableToolkit, FileTools.layer({ root, ...options }), edge)

  describe(`by ${edge}`, () => {
    it("nothing is written below .git, in any spelling", async () => {
      put(".git/HEAD", "ref: refs/heads/main\n")
      put("sub/.git", "gitdir: ../.git\n")
      const before = everything()
      for (const file of [
        ".git/config",
        ".git/hooks/pre-commit",
        ".git/HEAD",
        "./.git/config",
        "a/../.git/config",
        "new/.git",
        "new/.git/config",
        "sub/.git",
        ".GIT/config",
        ".Git/hooks/pre-commit",
        ".g\u0131t/config",
        ".git./config",
        ".git /config",
        ".git. . /config",
        ".git::$INDEX_ALLOCATION/config",
        "git~1/config",
        "GIT~1/config",
        ".g\u200Cit/config",
        ".\u200Dgit\uFEFF/config",
        ".g\u00ADit/config",
        "\uFF0Egit/config",
        ".git\\config",
        "sub\\.git\\config"
      ]) {
        for (const deny of [undefined, []]) {
          const refused = await tools({ deny }).fails("write_file", { path: file, content: "x" })
          assert.strictEqual(refused["reason"], "Denied", file)
        }
      }
      const edit = { path: ".git/HEAD", find: "main", replace: "x" }
      assert.strictEqual((await tools().fails("edit_file", edit))["reason"], "Denied")
      assert.deepStrictEqual(everything(), before)
      for (const file of [".gitignore", ".github/workflows/ci.yml", "git/x", "x.git", ".gitter/x", "a.git/config"]) {
        assert.deepStrictEqual(await tools().ok("write_file", { path: file, content: "x" }), { created: true }, file)
      }
    })

    it("nothing is written below .git through a link", async () => {
      put(".git/HEAD", "x")
      put("real/.git/hooks/x", "x")
      fs.symlinkSync(".git", path.join(root, "innocent"))
      fs.symlinkSync("real/.git/hooks", path.join(root, "hooks"))
      fs.symlinkSync("real", path.join(root, ".git2"))
      for (const file of ["innocent/config", "innocent/new/config", "hooks/pre-commit", ".git2/.git/config"]) {
        const refused = await tools({ deny: [] }).fails("write_file", { path: file, content: "x" })
        assert.strictEqual(refused["reason"], "Denied", file)
      }
      // Read, it is a file like any other.
      assert.include(await tools({ deny: [] }).ok("read_file", { path: "innocent/HEAD" }), { content: "x" })
    })

    it("what usually holds secrets is neither read, nor searched, nor written", async () => {
      const files = [
        ".env",
        ".env.local",
        "app/.env.production",
        ".ENV",
        ".netrc",
        ".npmrc",
        ".ssh/id_rsa",
        "keys/id_ed25519",
        "server.PEM",
        "a/.aws/credentials",
        "sub/.git/config",
        ".docker/config.json"
      ]
      for (const file of files) put(file)
      fs.symlinkSync(".env", path.join(root, "linked.txt"))
      put("open.txt", "a secret that is public")
      for (const file of [...files, "linked.txt"]) {
        for (const [name, params] of Object.entries({
          read_file: { path: file },
          search_files: { path: file, query: "secret" },
          write_file: { path: file, content: "x" },
          edit_file: { path: file, find: "secret", replace: "x" }
        })) {
          const refused = await tools().fails(name as "read_file", params)
          assert.strictEqual(refused["reason"], "Denied", `${name} ${file}`)
        }
      }
      const found = await tools().ok("search_files", { query: "secret" })
      assert.deepStrictEqual(found["matches"], [{ path: "open.txt", line: 1, text: "a secret that is public" }])
      assert.strictEqual((await tools().fails("list_files", { path: ".ssh" }))["reason"], "Denied")
      // The existence of the file is not a secret.
      const { entries } = await tools().ok("list_files", {})
      assert.include(JSON.stringify(entries), '".env"')
    })

    it("examples of such files are files like any other, and with an empty list all are", async () => {
      put(".env.example", "KEY=")
      put(".env", "KEY=1")
      assert.include(await tools().ok("read_file", { path: ".env.example" }), { content: "KEY=" })
      const { ok } = tools({ deny: [] })
      assert.include(await ok("read_file", { path: ".env" }), { content: "KEY=1" })
      assert.deepStrictEqual(await ok("write_file", { path: ".env", content: "" }), { created: false })
    })

    it("what the option denies is a name at any depth, or a path from the root, and all below it", async () => {
      const deny = [...FileTools.secrets, ".vscode", "/.github/workflows/", "docs/*.draft.md", "!docs/open.draft.md"]
      const { fails, ok } = tools({ deny })
      for (const file of [
        ".vscode/tasks.json",
        "a/.vscode/deep/tasks.json",
        ".VSCode/tasks.json",
        ".github/workflows/ci.yml",
        ".github/Workflows/ci.yml",
        "docs/x.draft.md",
        ".env"
      ]) {
        assert.strictEqual((await fails("write_file", { path: file, content: "x" }))["reason"], "Denied", file)
      }
      for (const file of ["a/.github/workflows/ci.yml", ".github/x", "docs/open.draft.md", "docs/a/x.draft.md"]) {
        assert.deepStrictEqual(await ok("write_file", { path: file, content: "x" }), { created: true }, file)
      }
    })

    it("a link of a denied name is denied, wherever it leads", async () => {
      put("real.txt")
      fs.symlinkSync("real.txt", path.join(root, ".env"))
      fs.symlinkSync(".", path.join(root, ".vscode"))
      const { fails, ok } = tools({ deny: [".env", ".vscode"] })
      assert.strictEqual((await fails("read_file", { path: ".env" }))["reason"], "Denied")
      assert.strictEqual((await fails("read_file", { path: ".vscode/real.txt" }))["reason"], "Denied")
      assert.include(await ok("read_file", { path: "real.txt" }), { content: "secret" })
    })
  })
}

it("a pattern that stands for too many is refused when the Layer is built", () => {
  const layer = FileTools.layer({ root, deny: ["{*a*,*b*}".repeat(13)] })
  const error = Exit.findError(Effect.runSyncExit(Effect.provide(call(FileTools.toolkit, "list_files", {}), layer)))
  assert.instanceOf(error._tag === "Success" ? error.success : undefined, RunError.InvalidDefinition)
})
