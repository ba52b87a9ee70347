/** Numbers and times as people read them. */

/** A time span, such as "320 ms" or "4.2 s". */
export const duration = (ms: number): string => {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
  const minutes = Math.floor(ms / 60_000)
  return `${minutes} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** A count, such as "1,204". */
export const count = (value: number): string => value.toLocaleString("en-US")

/** A count with its noun. */
export const counted = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`

/** US dollars, as exact as a small amount needs. `isPartial`: some of it is not known. */
export const dollars = (value: number, isPartial = false): string => {
  const more = isPartial ? "+" : ""
  if (value === 0) return `$0${more}`
  if (value < 0.000001) return "< $0.000001"
  return `$${value < 0.01 ? value.toPrecision(2) : value.toFixed(value < 1 ? 3 : 2)}${more}`
}

/** The beginning of a text. */
export const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`

/** A time of day; with the day where it is not today. */
export const clock = (at: number, now: number): string => {
  const date = new Date(at)
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
  const isToday = date.toDateString() === new Date(now).toDateString()
  return isToday ? time : `${date.toLocaleDateString([], { month: "short", day: "numeric" })}, ${time}`
}

/** A value as JSON over several lines, no longer than a page can show. */
export const pretty = (value: unknown, longest = 50_000): string => {
  const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "")
  return text.length <= longest ? text : `${text.slice(0, longest)}\n… ${count(text.length - longest)} characters more`
}
