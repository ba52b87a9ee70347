/** LangGraph.js, with LangChain's model for OpenAI: the graph of its quickstart, of ready-made nodes and edges. */
import { Annotation, END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph"
import { ToolNode, toolsCondition } from "@langchain/langgraph/prebuilt"
import { HumanMessage, SystemMessage } from "@langchain/core/messages"
import { tool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import { z } from "zod"
import { baseURL, type Peer, sum } from "../peer.ts"

const modelOf = (model: string) =>
  new ChatOpenAI({ model, apiKey: "none", configuration: { baseURL }, maxRetries: 0, useResponsesApi: false })

const add = tool(async ({ a, b }) => String(sum(a, b)), {
  name: "add",
  description: "Add two numbers",
  schema: z.object({ a: z.number(), b: z.number() })
})

const talkerOf = (name: string) => {
  const model = modelOf(name)
  return new StateGraph(MessagesAnnotation)
    .addNode("llm", async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
    .addEdge(START, "llm")
    .addEdge("llm", END)
    .compile()
}
const adderOf = (rounds: number) => {
  const model = modelOf(`tools-${rounds}`).bindTools([add])
  return new StateGraph(MessagesAnnotation)
    .addNode("llm", async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
    .addNode("tools", new ToolNode([add]))
    .addEdge(START, "llm")
    .addConditionalEdges("llm", toolsCondition, ["tools", END])
    .addEdge("tools", "llm")
    .compile()
}

const talker = talkerOf("text")
const parrot = talkerOf("echo")
const adders = new Map<number, ReturnType<typeof adderOf>>()
const adder = (rounds: number) => {
  const known = adders.get(rounds) ?? adderOf(rounds)
  adders.set(rounds, known)
  return known
}
const panelist = modelOf("panel")

const asked = (prompt: string) => ({ messages: [new HumanMessage(prompt)] })
const last = ({ messages }: typeof MessagesAnnotation.State): string => messages.at(-1)!.text
// Each round is two steps of the graph; its default limit is 25.
const limit = (rounds: number) => ({ recursionLimit: 2 * rounds + 5 })

export const peer: Peer = {
  single: async (prompt) => last(await talker.invoke(asked(prompt))),
  tools: async (prompt, rounds) => last(await adder(rounds).invoke(asked(prompt), limit(rounds))),
  stream: async (prompt, tokens) => {
    let count = 0
    const graph = talkerOf(`stream-${tokens}`)
    for await (const [chunk] of await graph.stream(asked(prompt), { streamMode: "messages" })) {
      if (chunk.text !== "") count++
    }
    return count
  },
  map: async (items, maxConcurrency) => (await parrot.batch(items.map(asked), { maxConcurrency })).map(last),
  agents: (prompts, rounds) => Promise.all(prompts.map((prompt) => peer.tools(prompt, rounds))),
  fanOut: async (instructions, prompt) => {
    // One graph whose nodes run side by side.
    const State = Annotation.Root({
      prompt: Annotation<string>,
      answers: Annotation<Array<string>>({ reducer: (all, more) => [...all, ...more], default: () => [] })
    })
    const nodes = instructions.map(
      (one, n): [string, (state: typeof State.State) => Promise<{ answers: Array<string> }>] => [
        `member-${n}`,
        async (state) => ({
          answers: [(await panelist.invoke([new SystemMessage(one), new HumanMessage(state.prompt)])).text]
        })
      ]
    )
    const names = nodes.map(([name]) => name)
    const graph = new StateGraph(State).addNode(nodes)
    for (const name of names) graph.addEdge(START, name).addEdge(name, END)
    return (await graph.compile().invoke({ prompt })).answers
  }
}
