/**
 * A code review crew: three reviewers read a file at the same time, each looking at one thing, and an editor merges what
 * they found. When a reviewer fails the others stop at once, and the error says which it was.
 *
 *     node examples/presets/code-review-crew.ts "$(cat src/file.ts)"
 */
import { Agent, Parallel } from "troupe"
import { main } from "./model.ts"

const reviewer = (name: string, looksAt: string) =>
  Agent.make(name, {
    description: `Reviews code: ${looksAt}`,
    instructions: `You review one file and look only at ${looksAt}. Report each problem on a line of its own as "- line N: what is wrong, and how to fix it". If there is nothing, say so in one line.`
  })

const editor = Agent.make("editor", {
  instructions:
    "You merge the reviews of several reviewers into one report: the gravest first, everything once, with line numbers. Write a short list in Markdown."
})

const crew = Parallel.make(
  "crew",
  {
    correctness: reviewer("correctness", "correctness: bugs, unfinished work, swallowed errors"),
    security: reviewer("security", "security: secrets, unsafe calls, unchecked input"),
    style: reviewer("style", "style: names, long lines, dead code")
  },
  { description: "Reviews a file from three sides", combine: editor }
)
export default crew

const sample = `export async function login(user, password) {
  const apiKey = "sk-live-51f0c9a7d2e84b6f"
  try {
    const query = "select * from users where name = '" + user + "'"
    const found = await db.query(query)
    if (found.password == password) return found
  } catch (e) {}
  // TODO: lock the account after five failures
  return eval(user.onFailure)
}
`
await main(import.meta.main, crew.run, sample)
