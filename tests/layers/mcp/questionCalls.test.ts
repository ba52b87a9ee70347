/** Which call a server's question belongs to. */
import { describe, expect, it } from "vitest"
import * as Relations from "../../../src/layers/mcp/internal/relations.ts"

/** Two calls: call 7 as request "a", call 8 as request "b" with the task "t". */
const twoCalls = () => {
  const relations = Relations.make()
  relations.sending(7, () => relations.sent("a"))
  relations.sending(8, () => relations.sent("b"))
  relations.runs(8, "t")
  return relations
}

describe("a question", () => {
  it("belongs to the call on whose stream it comes", () => {
    const relations = twoCalls()
    relations.asked(1, "a")
    relations.asked(2, "b")
    expect([relations.callOf(2, undefined), relations.callOf(1, undefined)]).toEqual([8, 7])
  })

  it("belongs to the call whose task it names", () => {
    expect(twoCalls().callOf(1, "t")).toBe(8)
  })

  it("belongs to no call that is known where it says nothing, names a foreign task, or its call has ended", () => {
    const relations = twoCalls()
    relations.asked(1, "a")
    relations.ended(7)
    expect([relations.callOf(1, undefined), relations.callOf(2, undefined), relations.callOf(3, "x")]).toEqual([
      undefined,
      undefined,
      undefined
    ])
  })

  it("belongs to its call, however many of calls that have ended were not looked up", () => {
    const relations = twoCalls()
    for (let question = 0; question < 1000; question++) relations.asked(question, "a")
    relations.ended(7)
    relations.asked(1000, "b")
    expect(relations.callOf(1000, undefined)).toBe(8)
  })

  it("is not related to a request that no call has sent", () => {
    const relations = twoCalls()
    relations.sent("c")
    relations.asked(1, "c")
    expect(relations.callOf(1, undefined)).toBeUndefined()
  })
})
