/** The folder of a skill, which no path can leave, and its failures. */
import * as fs from "node:fs"
import { SkillError } from "../../../services/Skills.ts"
import { FileToolError, toError } from "../../internal/files/errors.ts"
import * as Rooted from "../../internal/files/rooted.ts"

/** The files of a skill, and nothing else. Throws when the folder has become a link, or lies below one. */
export const rootedAt = (location: string): Rooted.Rooted => {
  if (fs.realpathSync(location) !== location) throw Object.assign(new Error("a link"), { code: "ELOOP" })
  return Rooted.make(location)
}

/** A failure of a file, as a skill's error. */
export const toSkillError = (skill: string, given: string | undefined, cause: unknown): SkillError => {
  const { detail, reason } = cause instanceof FileToolError ? cause : toError(given ?? "", cause)
  return new SkillError({
    skill,
    ...(given === undefined ? {} : { path: given }),
    reason: reason === "Ambiguous" || reason === "Pattern" || reason === "Denied" ? "System" : reason,
    detail: reason === "Outside" && !detail.includes("null") ? "it is outside of the skill's folder" : detail
  })
}
