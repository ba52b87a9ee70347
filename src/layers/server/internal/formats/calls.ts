/** Calls of tools that a client runs, as protocols of chats have them: with ids by which this server knows its own. */
import { canonical, exactJson } from "../../../../internal/fingerprint.ts"
import { parseJson } from "../../../../internal/json.ts"
import type { Signing } from "../../../../services/Approver.ts"
import type { Ended } from "../../../../services/Runs.ts"

/** A call that a client is asked to make. */
export interface ClientCall {
  /** The id for the client, signed. */
  readonly id: string
  readonly name: string
  /** JSON. */
  readonly arguments: string
}

/** A call as chat completions have it. */
export const toolCallOf = ({ arguments: text, id, name }: ClientCall) => ({
  id,
  type: "function",
  function: { name, arguments: text }
})

/** A call of ours, read back. */
export interface OwnCall {
  readonly runId: string
  /** Its place in what the run waits for. */
  readonly index: number
}

const signatureOf = (signing: Signing, runId: string, index: number, name: string, params: unknown): string => {
  const exact = exactJson(params)
  return exact === undefined ? "" : signing.sign(["client-call", runId, index, name, canonical(exact)]).slice(0, 32)
}

/**
 * What a suspended run asks its client for; `undefined` where it waits for something that is not a call of a tool that the
 * client runs.
 */
export const clientCalls = (ended: Ended, signing: Signing): ReadonlyArray<ClientCall> | undefined => {
  if (ended._tag !== "RunSuspended") return undefined
  const calls = ended.waitingFor.map((waiting, index) =>
    waiting.kind === "client-tool"
      ? {
          id: `call_${ended.runId}_${index}_${signatureOf(signing, ended.runId, index, waiting.tool, waiting.params)}`,
          name: waiting.tool,
          arguments: JSON.stringify(waiting.params)
        }
      : undefined
  )
  return calls.every((call) => call !== undefined) ? calls : undefined
}

/** A call that this server has signed; `undefined` for any other, also where its name or arguments are changed. */
export const ownCall = (
  { arguments: text, id, name }: ClientCall,
  signing: Signing
): (OwnCall & { readonly params: unknown }) | undefined => {
  const match = /^call_([\w.~-]{1,200})_(\d{1,4})_([0-9a-f]{32})$/.exec(id)
  if (match === null) return undefined
  const [, runId, index, signature] = match
  const params = parseJson(text)
  const expected = signatureOf(signing, runId!, Number(index), name, params)
  return expected !== "" && expected === signature ? { runId: runId!, index: Number(index), params } : undefined
}
