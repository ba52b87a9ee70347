/**
 * What the suite starts for each scenario: it passes its input to the test's own process, where the client is loaded
 * already, and ends as the client does. `node mcpConformanceRelay.ts PORT URL`.
 */
import process from "node:process"

const [port, url] = process.argv.slice(2)
const { MCP_CONFORMANCE_CONTEXT: context = "{}", MCP_CONFORMANCE_SCENARIO: scenario } = process.env
const response = await fetch(`http://127.0.0.1:${port}`, {
  method: "POST",
  body: JSON.stringify({ url, scenario, context: JSON.parse(context) })
})
process.stderr.write(await response.text())
process.exitCode = response.ok ? 0 : 1
