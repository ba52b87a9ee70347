/** What suspended runs wait for, for tests that know what kind it is. */
import type { RunEvent } from "troupe"
import { assert } from "vitest"

/** The one of the kind, which it has to be. */
export const asApproval = (waiting: RunEvent.WaitingFor | undefined) =>
  waiting?.kind === "approval" ? waiting : assert.fail(`not an approval: ${JSON.stringify(waiting)}`)

/** The one of the kind, which it has to be. */
export const asClientTool = (waiting: RunEvent.WaitingFor | undefined) =>
  waiting?.kind === "client-tool" ? waiting : assert.fail(`not a tool of the client: ${JSON.stringify(waiting)}`)
