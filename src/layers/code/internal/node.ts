/** The engine in threads of Node. `noNode.ts` takes its place elsewhere. */
export { find, start } from "./quickJs.ts"
