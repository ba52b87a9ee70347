/** The editor's session that a run is a turn of. */
import * as Context from "effect/Context"

/** What a run knows of the editor that it answers. */
export interface Session {
  readonly id: string
  /** The absolute path of the folder that is open in the editor. It is the editor's word, and not a permission. */
  readonly cwd: string
}

/** The session of an editor; `undefined` outside of one. */
export const CurrentSession: Context.Reference<Session | undefined> = Context.Reference<Session | undefined>(
  "troupe/AcpServer/CurrentSession",
  { defaultValue: () => undefined }
)
