/** The names of the durable writes, which are the failpoints: each kind of statement, with the state that it writes. */

const table =
  /^\s*(INSERT|UPDATE|DELETE)[\s\S]*?"?troupe_(runs|steps|events|signals|wakes|cluster_messages|cluster_replies)\b/i
const states = /^(queued|running|suspended|completed|failed|interrupted|intent|unknown|done)$/

/** What a statement is called, by its arguments; `undefined` for one that writes nothing of a run. */
export const failpointOf = (sql: string): ((args: ReadonlyArray<unknown>) => string) | undefined => {
  const [, verb, name] = table.exec(sql) ?? []
  if (verb === undefined || name === undefined) return undefined
  const fixed = /SET[^]*?state = '(\w+)'/i.exec(sql.split(/\bWHERE\b/i)[0]!)?.[1]
  return (args) => {
    const given = args.find((arg) => typeof arg === "string" && states.test(arg))
    const state = fixed ?? (name === "runs" || name === "steps" ? given : undefined)
    return [verb.toLowerCase(), name, ...(typeof state === "string" ? [state] : [])].join(" ")
  }
}
