/** Skills as prompts and resources of an MCP server. */
import * as Effect from "effect/Effect"
import type * as EffectMcpServer from "effect/ai/McpServer"
import * as Layer from "effect/Layer"
import { type Skill, Skills } from "../../../../services/Skills.ts"

/** Loaded with the server. */
const load = Effect.promise(() => Promise.all([import("./resource.ts"), import("./promptRegistration.ts")]))

/**
 * Serves the skills of `Skills.layer`: each as a prompt, which hosts offer to their users and which gives its instructions; as
 * resources, `skills://all` with a list of them and `skills://all/{skill}/{path}` with a text file of one, percent-encoded. For
 * `registrations` of {@link serve}. The tools of `Skills.tools`, given to `serve` as `tools`, let a host's model read them by
 * itself. Scripts are not run for clients.
 *
 * The prompts are those of the skills that there are as the server starts; what they give is read as it is asked for.
 *
 * @example
 * import { Layer } from "effect"
 * import { McpServer, Skills } from "troupe"
 *
 * const Server = McpServer.serve({ tools: Skills.tools(), registrations: McpServer.skills() }).pipe(
 *   Layer.provide(Skills.layer({ folders: ["./skills"] }))
 * )
 */
export const skills = (): Layer.Layer<never, never, EffectMcpServer.McpServer | Skills> => {
  const base = "skills://all"
  return Layer.effectDiscard(
    Effect.gen(function* () {
      const service = yield* Skills
      const [{ addResource, addTemplate }, { addPrompt }] = yield* load
      const { skills } = yield* service.scan
      const instructionsOf = ({ name }: Skill) =>
        Effect.map(service.read(name), ({ files, instructions }) => {
          const others = files.map((file) => `- ${base}/${encodeURIComponent(name)}/${encodeURIComponent(file)}`)
          return others.length === 0 ? instructions : `${instructions}\n\nFiles of this skill:\n${others.join("\n")}`
        })
      for (const skill of skills) {
        yield* addPrompt({
          name: skill.name,
          title: undefined,
          description: skill.description,
          fields: {},
          read: () => Effect.succeed(instructionsOf(skill))
        })
      }
      yield* addResource({
        uri: base,
        name: "skills",
        description: "Instructions for certain tasks: names, descriptions and files.",
        mimeType: "application/json",
        content: Effect.gen(function* () {
          const { skills } = yield* service.scan
          const all = yield* Effect.forEach(skills, ({ description, name }) =>
            Effect.map(service.read(name), ({ files }) => ({ name, description, files: ["SKILL.md", ...files] }))
          )
          return JSON.stringify({ skills: all }, undefined, 2)
        })
      })
      const beginning = (names: ReadonlyArray<string>, begun: string) => names.filter((name) => name.startsWith(begun))
      yield* addTemplate({
        base,
        params: ["skill", "path"],
        name: "file of a skill",
        description: "A text file of a skill, such as SKILL.md.",
        mimeType: "text/plain",
        content: (skill = "", path = "") => Effect.map(service.readFile(skill, path), ({ content }) => content),
        complete: {
          skill: (begun) =>
            Effect.map(service.scan, ({ skills }) =>
              beginning(
                skills.map(({ name }) => name),
                begun
              )
            )
        }
      })
    })
  )
}
