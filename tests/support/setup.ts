/**
 * Before every test file: random tests draw the same cases in every run, so that a change is judged by the change.
 * `TROUPE_SEED=random` draws others; a failure prints how to draw it again.
 */
import * as Arbitrary from "effect/Arbitrary"

const given = process.env["TROUPE_SEED"]
if (given !== "random") Arbitrary.configureGlobal({ check: { seed: given ?? "troupe" } })
