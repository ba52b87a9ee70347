/**
 * Before every test file: what the environment says of keys, servers, models, telemetry, colours and CI is forgotten, so
 * that tests mean the same wherever they run, also in the processes they start. And random tests draw the same cases in
 * every run, so that a change is judged by the change. `TROUPE_SEED=random` draws others; a failure prints how to draw it
 * again.
 */
import * as Arbitrary from "effect/Arbitrary"

const given = process.env["TROUPE_SEED"]
if (given !== "random") Arbitrary.configureGlobal({ check: { seed: given ?? "troupe" } })

for (const name of Object.keys(process.env)) {
  if (/^((OPENAI|ANTHROPIC|OTEL)_|TROUPE_(?!SEED|CASES|TEST_FOLDER)|(CI|NO_COLOR|FORCE_COLOR)$)/.test(name))
    delete process.env[name]
}
