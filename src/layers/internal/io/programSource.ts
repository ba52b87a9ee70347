/**
 * The part of the I/O thread's program that runs programs of other modules, as text: each is the body of a function of
 * `require` and `post` that gives what hears messages.
 *
 * In: program { id, source }, tell { id, data }, abort { id }. Out: told { id, data }, failed { id, message, code }.
 */

/** Defines `programmed(message)`: true when the message was one of the above. */
export const programSource: string = `
const programs = new Map()
const programmed = (m) => {
  if (m.type === "program") {
    const say = (data) => { if (programs.has(m.id)) post({ type: "told", id: m.id, data }) }
    try { programs.set(m.id, undefined); programs.set(m.id, new Function("require", "post", m.source)(require, say)) }
    catch (error) { programs.delete(m.id); post({ type: "failed", id: m.id, ...describe(error) }) }
    return true
  }
  if (!programs.has(m.id)) return m.type === "tell"
  if (m.type === "tell") programs.get(m.id)(m.data)
  else if (m.type === "abort") programs.delete(m.id)
  else return false
  return true
}
`
