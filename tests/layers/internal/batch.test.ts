import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { batched } from "../../../src/layers/internal/io/threads/batch.ts"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const made = () => {
  const posts: Array<string> = []
  const batch = batched((data) => posts.push(Buffer.from(data).toString()))
  return { posts, push: (text: string) => batch.push(Buffer.from(text)), batch }
}

it("a chunk after a pause is posted at once, and those that follow it closely together", () => {
  const { posts, push } = made()
  push("a")
  expect(posts).toEqual(["a"])
  push("b")
  push("c")
  expect(posts).toEqual(["a"])
  vi.advanceTimersByTime(1)
  expect(posts).toEqual(["a", "bc"])
  vi.advanceTimersByTime(1)
  push("d")
  expect(posts).toEqual(["a", "bc", "d"])
})

it("much is posted without waiting, and what waits when the answer ends before its end", () => {
  const { batch, posts, push } = made()
  push("a")
  push("b".repeat(70_000))
  expect(posts.map(({ length }) => length)).toEqual([1, 70_000])
  push("c")
  batch.flush()
  batch.flush()
  expect(posts.at(-1)).toBe("c")
  expect(posts).toHaveLength(3)
  expect(vi.getTimerCount()).toBe(0)
})

it("nothing of an aborted answer is posted", () => {
  const { batch, posts, push } = made()
  push("a")
  push("b")
  batch.drop()
  vi.advanceTimersByTime(10)
  expect(posts).toEqual(["a"])
})
