/** Advice for requests that a model's server refused, where it is the same for every server. */
import { kindOf, type StatusProblem } from "./problems.ts"

/** What each Layer advises by itself. */
export interface OwnAdvice {
  /** Where the API key is set. */
  readonly key: string
  /** For a request that the server cannot answer as it is. */
  readonly request: (problem: StatusProblem) => string | undefined
}

/** The next step for a refusal; `undefined` if unknown. */
export const ofStatus = (problem: StatusProblem, model: string, own: OwnAdvice): string | undefined => {
  switch (kindOf(problem)) {
    case "key":
      return own.key
    case "permission":
      return `Check that the API key may use the model ${JSON.stringify(model)}.`
    case "overflow":
      return "Shorten the conversation, or use a model with a longer context."
    case "policy":
      return "Change the input or the instructions."
    case "server":
      return "The fault is the server's: try again later."
    case "request":
    case "response":
      return own.request(problem)
    default:
      return undefined
  }
}

/** Advice for a model that the server does not know. */
export const wrongModel = (model: string): string => `Check the model's name, ${JSON.stringify(model)}.`

/** Advice for a request that the server finds too large. */
export const tooLarge = "Shorten the conversation, or send smaller files."
