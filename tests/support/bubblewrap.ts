/** Whether this machine can run commands in bubblewrap. `.ci/run` installs it; elsewhere its absence is what is tested. */
import { spawnSync } from "node:child_process"

/** True where `bwrap` is there and may make namespaces. */
export const hasBubblewrap: boolean =
  spawnSync("bwrap", ["--ro-bind", "/", "/", "--unshare-all", "true"], { stdio: "ignore" }).status === 0
