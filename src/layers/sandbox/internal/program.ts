/** The command lines of git and Docker, by which sandboxes are made. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Process from "../../internal/process/run.ts"

/** How a program is run. */
export interface Surroundings {
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** What a program wrote. */
export interface Output {
  readonly text: string
  /** It wrote more than is kept. */
  readonly isCut: boolean
}

const limits = { keep: 4 * 1024 * 1024, most: 64 * 1024 * 1024, graceMs: 1000 }
const timeout = Duration.minutes(2)

/** Runs a program to its end. Fails with the reason, which for one that fails is the end of what it says. */
export const output = (
  command: string,
  args: ReadonlyArray<string>,
  surroundings: Surroundings
): Effect.Effect<Output, string> =>
  Process.run({ command, args, ...surroundings, input: undefined, ...limits }, timeout).pipe(
    Effect.mapError(({ detail }) => detail),
    Effect.flatMap(({ cut, exitCode, over, stderr, stdout }) => {
      if (exitCode === 0) return Effect.succeed({ text: new TextDecoder().decode(stdout), isCut: cut })
      const said = new TextDecoder().decode(stderr).trim().slice(-500)
      return Effect.fail(over ? `it wrote more than ${limits.most} bytes and was killed` : said)
    })
  )
