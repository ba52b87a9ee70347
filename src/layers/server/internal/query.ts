/** What is asked for in the address of a request. */
import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/** The query of a request, whose address may be one that `URL` does not read. */
export const queryOf = ({ url }: HttpServerRequest.HttpServerRequest): URLSearchParams =>
  new URLSearchParams(/\?([^#]*)/.exec(url)?.[1])

/** A count in a query, within its bounds. */
export const countIn = (
  query: URLSearchParams,
  name: string,
  { least, most, otherwise }: { readonly otherwise: number; readonly least: number; readonly most: number }
): number => Math.min(Math.max(Math.trunc(Number(query.get(name) ?? otherwise)) || otherwise, least), most)

/** How many things a list has at most. */
export const mostListed = 200

/** How many things a list is to have. */
export const limitIn = (query: URLSearchParams): number =>
  countIn(query, "limit", { otherwise: 50, least: 1, most: mostListed })
