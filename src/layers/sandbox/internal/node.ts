/** The places to work on a machine, which need Node. `noNode.ts` takes its place elsewhere. */
export { make as bubblewrap } from "./bubblewrap.ts"
export { make as docker } from "./docker.ts"
export { make as local } from "./local.ts"
export { make as worktree } from "./worktree.ts"
