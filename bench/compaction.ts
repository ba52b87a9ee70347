/** What it takes to compact a conversation of 1 MB, apart from the model: `npm run compaction`. */
import { measure } from "../tests/support/largeHistory.ts"

await measure(5)
const { compactMs, writeMs } = await measure(20)
console.log(
  `1 MB is compacted in ${compactMs.toFixed(1)} ms, ${(compactMs / writeMs).toFixed(1)} times what writing it as JSON takes (${writeMs.toFixed(1)} ms)`
)
