/**
 * The protocols that a server speaks apart from its own. To add one: write its wire format as pure functions from
 * `RunEvent` to text in a module of its own (`(expose) => (event) => string`, see `lines.ts`), write a function
 * `(edge, route) => void` that adds its routes, and list it here. A route decodes its request, begins the run with
 * `begin(edge, ...)`, and answers with `respondWith(edge, { runId, from: 0, write, ... })`, or waits with `untilEnd`.
 */
import { a2a } from "./a2a.ts"
import { agUi } from "./agUi.ts"
import type { Edge } from "./edge.ts"
import { openAi } from "./openAi.ts"
import type { Add } from "./routes.ts"
import { ui } from "./ui.ts"

/** Adds the routes of a protocol. */
export type Protocol = (edge: Edge, route: Add) => void

/** Every protocol. */
export const protocols: ReadonlyArray<Protocol> = [openAi, ui, agUi, a2a]
