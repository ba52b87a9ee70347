/** Why an agent that is a process of its own has no answer. */
import * as Schema from "effect/Schema"

/** The process could not be started or ended, or its turn ended without an answer. */
export class AcpAgentError extends Schema.TaggedError<AcpAgentError>()("AcpAgentError", {
  /** The name of the agent here. */
  agent: Schema.String,
  /**
   * - `unstartable`: its command cannot be started;
   * - `ended`: its process ended, or closed its output;
   * - `slow`: no session within `startTimeout`;
   * - `unauthorized`: it wants to be signed in first;
   * - `unsupported`: it does not speak version 1 of ACP;
   * - `refused`: it answered with an error, or its model refused;
   * - `stopped`: it stopped at a limit of its own, see `detail`;
   * - `permission`: it asks for a permission, and no approver is there to decide;
   * - `unreadable`: what it sent is not ACP;
   * - `too-large`: it sent more than `limit`.
   */
  reason: Schema.Literals([
    "unstartable",
    "ended",
    "slow",
    "unauthorized",
    "unsupported",
    "refused",
    "stopped",
    "permission",
    "unreadable",
    "too-large"
  ]),
  detail: Schema.String,
  /** The end of what it wrote to standard error, without the secrets of its environment. */
  stderr: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const said = this.stderr === undefined || this.stderr === "" ? "" : ` It wrote: ${this.stderr}`
    return `agent "${this.agent}": ${this.detail}${next[this.reason]}${said}`
  }
}

const next: Readonly<Record<AcpAgentError["reason"], string>> = {
  unstartable: " Check that the command is installed, or give its absolute path.",
  ended: "",
  slow: " Give AcpAgent.make a longer startTimeout.",
  unauthorized:
    " Sign in with the agent's own program, or give it a key in env; it sees no other variable than those, HOME included.",
  unsupported: "",
  refused: "",
  stopped: "",
  permission: " Provide Approvals.layer or Approvals.layerPolicy to decide.",
  unreadable: " Check that the command speaks ACP on its standard output.",
  "too-large": " Give AcpAgent.make a larger limit."
}
