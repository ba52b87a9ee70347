/**
 * How many cases a property is tried with. `npm test` tries a quarter, always the same ones, so that it stays a matter of
 * minutes; `TROUPE_CASES=all npm test -- tests/workflows/randomTrees.test.ts` tries all of them, and
 * `TROUPE_SEED=random` others.
 */
const all = process.env["TROUPE_CASES"] === "all"

/** `whole` cases, or a quarter of them, at least ten. */
export const cases = (whole: number): number => (all ? whole : Math.max(10, Math.ceil(whole / 4)))
