import { decode, encode } from "@jridgewell/sourcemap-codec"
import { expect, it } from "vitest"
import { marked } from "../../scripts/pure.ts"

const text = (source: string): string => marked(source, { mappings: "" }).source.replaceAll("/*#__PURE__*/ ", "@")

it.each([
  ["const x = f(g(1))(2)", "const x = @f(@g(1))(2)"],
  ["export const x = new Map(), y = a.b().c()", "export const x = @new Map(), y = @a.b().c()"],
  ["export class A extends B()('x', { y: z() }) {}", "export class A extends @B()('x', { y: @z() }) {}"]
])("marks calls of initial values and of what a class extends: %s", (source, expected) => {
  expect(text(source)).toBe(expected)
})

it("keeps the name of a class that is the value of a variable", () => {
  expect(text("var A = class extends b.c(d.e) {}")).toBe("var A = class extends @(() => (@b.c(d.e)))() {}")
})

it.each(["f()", "export const x = () => f()", "function g() { return f() }", "class A { x = f() }", "x.y = f()"])(
  "leaves alone what a module does, and what is done later: %s",
  (source) => {
    expect(text(source)).toBe(source)
  }
)

it("moves what the source map says of the same line, and of no other", () => {
  const source = "const a = 1, b = f(), c = 2\nconst d = 3"
  const map = {
    mappings: encode([[6, 13, 17, 22].map((at) => [at, 0, 0, at] as [number, number, number, number]), [[6, 0, 1, 6]]])
  }
  const moved = marked(source, map)
  expect(decode(moved.map.mappings).map((line) => line.map((segment) => [segment[0], segment[3]]))).toEqual([
    [
      [6, 6],
      [13, 13],
      [31, 17],
      [36, 22]
    ],
    [[6, 6]]
  ])
})
