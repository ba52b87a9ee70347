/**
 * Which call a server's question belongs to, where the protocol says so: the question names a task of the call, or comes on
 * the stream that answers it. Over stdio and the older SSE transport the protocol does not say.
 */

type Id = string | number

/** What is known of the calls of one connection, by the ids of the side that makes them. */
export interface Relations {
  /** Runs a function that sends the request of a call before it returns. */
  readonly sending: <A>(call: number, send: () => A) => A
  /** Notes the id under which a request is sent. */
  readonly sent: (request: Id) => void
  /** Notes that a question came on the stream that answers a request. */
  readonly asked: (question: Id, request: Id) => void
  /** Notes the task that a call has started. */
  readonly runs: (call: number, task: string) => void
  /** The call that a question belongs to; `undefined` where it is not known. A question is looked up once. */
  readonly callOf: (question: Id, task: string | undefined) => number | undefined
  readonly ended: (call: number) => void
}

/** How many questions are noted: those that are not looked up, such as a ping, stay until their call ends. */
const maxQuestions = 1000

export const make = (): Relations => {
  const byRequest = new Map<Id, number>()
  const byTask = new Map<string, number>()
  const questions = new Map<Id, Id>()
  let sender: number | undefined
  return {
    sending: (call, send) => {
      sender = call
      try {
        return send()
      } finally {
        sender = undefined
      }
    },
    sent: (request) => {
      if (sender !== undefined) byRequest.set(request, sender)
    },
    asked: (question, request) => {
      if (questions.size < maxQuestions && byRequest.has(request)) questions.set(question, request)
    },
    runs: (call, task) => void byTask.set(task, call),
    callOf: (question, task) => {
      const request = questions.get(question)
      questions.delete(question)
      if (task !== undefined) return byTask.get(task)
      return request === undefined ? undefined : byRequest.get(request)
    },
    ended: (call) => {
      for (const [question, request] of questions) if (byRequest.get(request) === call) questions.delete(question)
      for (const known of [byRequest, byTask]) {
        for (const [key, value] of known) if (value === call) known.delete(key)
      }
    }
  }
}
