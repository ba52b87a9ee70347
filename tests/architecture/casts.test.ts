/** A cast to `never` fits everything, so the compiler says nothing when what it hides changes. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, it } from "@effect/vitest"

const source = path.resolve(import.meta.dirname, "../../src")

it("casts to never in no more places than it has to", () => {
  const casts = fs
    .readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".generated.ts"))
    .flatMap((file) =>
      fs
        .readFileSync(path.join(source, file), "utf8")
        .split("\n")
        .flatMap((line, index) =>
          /\bas never\b/.test(line.replace(/\/\/.*|^\s*(\/\*)?\*.*/, "")) ? [`${file}:${index + 1}`] : []
        )
    )
  assert.isNotEmpty(casts)
  assert.isAtMost(casts.length, 12, casts.join("\n"))
})
