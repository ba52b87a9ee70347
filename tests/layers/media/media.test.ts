/** Images, speech and transcription: services over real sockets, and tools of agents. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import type { ImageModelV4, ImageModelV4CallOptions, SpeechModelV4, TranscriptionModelV4 } from "@ai-sdk/provider"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { Agent, AiSdk, Images, OpenAi, Speech, TestModel, Transcription } from "troupe"

interface Seen {
  readonly path: string
  readonly type: string
  readonly body: Buffer
}
type Answer = (response: ServerResponse, request: IncomingMessage) => void

/** A server that remembers bodies as they came. */
const serve = (answer: Answer) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const seen: Array<Seen> = []
        const state = { aborted: 0 }
        const server = createServer((request, response) => {
          const chunks: Array<Buffer> = []
          request.on("data", (chunk: Buffer) => chunks.push(chunk))
          request.on("end", () => {
            const type = request.headers["content-type"] ?? ""
            seen.push({ path: request.url ?? "", type, body: Buffer.concat(chunks) })
            response.on("close", () => {
              if (!response.writableFinished) state.aborted++
            })
            answer(response, request)
          })
        })
        await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
        return { server, seen, state, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` }
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    ),
    (made) => made
  )

const json =
  (body: object, status = 200): Answer =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json" })
    response.end(JSON.stringify(body))
  }

const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 1, 2, 3, 13, 10])
const pngText = Buffer.from(png).toString("base64")
const at = (baseUrl: string) => ({ baseUrl, apiKey: Redacted.make("secret-key-1"), retry: "none" as const })
const reasonOf = (error: unknown) => (error as { readonly reason: { readonly _tag: string } }).reason._tag

describe("OpenAi.layerImages", () => {
  it.live("makes images, and new ones of images, as a form with the bytes as they are", () =>
    Effect.gen(function* () {
      const server = yield* serve(json({ data: [{ b64_json: pngText }], usage: { input_tokens: 3, output_tokens: 9 } }))
      const model = OpenAi.layerImages({ model: "gpt-image-1", quality: "low", ...at(server.url) })
      const made = yield* Effect.provide(Images.generate({ prompt: "a cat", size: "256x256", count: 1 }), model)
      assert.deepStrictEqual(made.images, [{ mediaType: "image/png", data: png }])
      assert.deepStrictEqual(made.usage, { inputTokens: 3, outputTokens: 9 })
      assert.deepStrictEqual(JSON.parse(server.seen[0]!.body.toString()), {
        model: "gpt-image-1",
        prompt: "a cat",
        n: 1,
        size: "256x256",
        quality: "low"
      })
      const image = { mediaType: "image/png", data: png }
      yield* Effect.provide(Images.generate({ prompt: "a dog", images: [image], mask: image }), model)
      const form = server.seen[1]!
      assert.strictEqual(form.path, "/v1/images/edits")
      const parsed = yield* Effect.promise(() =>
        new Response(new Uint8Array(form.body), { headers: { "content-type": form.type } }).formData()
      )
      assert.strictEqual(parsed.get("prompt"), "a dog")
      const file = parsed.get("image") as File
      assert.deepStrictEqual(
        [file.type, new Uint8Array(yield* Effect.promise(() => file.arrayBuffer()))],
        ["image/png", png]
      )
      assert.instanceOf(parsed.get("mask"), File)
    })
  )

  it.live("fetches nothing on a server's word, and refuses what it cannot ask for", () =>
    Effect.gen(function* () {
      const server = yield* serve(json({ data: [{ url: "http://127.0.0.1:9/cat.png" }] }))
      const model = OpenAi.layerImages({ model: "dall-e-3", ...at(server.url) })
      const ask = (request: Images.Request) => Effect.flip(Effect.provide(Images.generate(request), model))
      assert.match((yield* ask({ prompt: "x" })).message, /nothing is fetched on a server's word/)
      assert.strictEqual(JSON.parse(server.seen[0]!.body.toString()).response_format, "b64_json")
      assert.strictEqual(reasonOf(yield* ask({ prompt: "x", seed: 1 })), "InvalidRequestError")
      assert.lengthOf(server.seen, 1)
    })
  )
})

for (const transport of ["node", "fetch"] as const) {
  it.live(`a recording is sent as it is by ${transport}`, () =>
    Effect.gen(function* () {
      const server = yield* serve(json({ text: "Hello." }))
      const model = OpenAi.layerTranscription({ model: "m", transport, ...at(server.url) })
      yield* Effect.provide(Transcription.transcribe({ mediaType: "audio/wav", data: png }), model)
      assert.isTrue(server.seen[0]!.body.includes(Buffer.from(png)))
    })
  )
}

describe("OpenAi.layerSpeech", () => {
  it.live("speaks, and does not take words for a sound", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => {
        response.writeHead(200, { "content-type": "audio/mpeg" })
        response.end(Buffer.from([1, 2, 3]))
      })
      const model = OpenAi.layerSpeech({ model: "tts", voice: "nova", ...at(server.url) })
      const said = yield* Effect.provide(Speech.synthesize({ text: "Hello", instructions: "calm", speed: 2 }), model)
      assert.deepStrictEqual(said, { mediaType: "audio/mpeg", data: new Uint8Array([1, 2, 3]) })
      assert.deepStrictEqual(JSON.parse(server.seen[0]!.body.toString()), {
        model: "tts",
        input: "Hello",
        voice: "nova",
        response_format: "mp3",
        instructions: "calm",
        speed: 2
      })
      const other = yield* serve(json({ message: "no such voice" }))
      const wrong = OpenAi.layerSpeech({ model: "tts", ...at(other.url) })
      const error = yield* Effect.flip(Effect.provide(Speech.synthesize({ text: "x" }), wrong))
      assert.strictEqual(reasonOf(error), "InvalidResponseError")
    })
  )

  it.live("is bounded in size and in time, and aborted on the wire when it is interrupted", () =>
    Effect.gen(function* () {
      const large = yield* serve((response) => {
        response.writeHead(200, { "content-type": "audio/mpeg" })
        response.end(Buffer.alloc(5000))
      })
      const speak = Speech.synthesize({ text: "x" })
      const small = OpenAi.layerSpeech({ model: "m", maxAnswerBytes: 1000, ...at(large.url) })
      assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(speak, small))), "InvalidResponseError")
      const silent = yield* serve(() => {})
      const short = OpenAi.layerSpeech({ model: "m", timeout: "30 millis", ...at(silent.url) })
      assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(speak, short))), "NetworkError")
      const model = OpenAi.layerSpeech({ model: "m", ...at(silent.url) })
      const fiber = yield* Effect.forkChild(Effect.provide(speak, model), { startImmediately: true })
      while (silent.seen.length < 2) yield* Effect.sleep(2)
      yield* Fiber.interrupt(fiber)
      while (silent.state.aborted < 2) yield* Effect.sleep(2)
      assert.strictEqual(silent.state.aborted, 2)
    })
  )
})

describe("OpenAi.layerTranscription", () => {
  it.live("writes down what is said, with its pieces where they are asked for", () =>
    Effect.gen(function* () {
      const server = yield* serve(
        json({ text: "Hello.", language: "en", duration: 1.5, segments: [{ text: " Hello.", start: 0, end: 1.5 }, {}] })
      )
      const model = OpenAi.layerTranscription({ model: "whisper-1", maxAudioBytes: 10, ...at(server.url) })
      const recording = { mediaType: "audio/wav", data: png }
      const said = yield* Effect.provide(
        Transcription.transcribe({ ...recording, language: "en", segments: true }),
        model
      )
      assert.deepStrictEqual(said, {
        text: "Hello.",
        segments: [{ text: "Hello.", startSecond: 0, endSecond: 1.5 }],
        language: "en",
        durationSeconds: 1.5
      })
      const [form] = server.seen
      const parsed = yield* Effect.promise(() =>
        new Response(new Uint8Array(form!.body), { headers: { "content-type": form!.type } }).formData()
      )
      assert.strictEqual(parsed.get("response_format"), "verbose_json")
      assert.strictEqual((parsed.get("file") as File).name, "audio.wav")
      const long = Transcription.transcribe({ mediaType: "audio/wav", data: new Uint8Array(11) })
      assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(long, model))), "InvalidUserInputError")
      assert.lengthOf(server.seen, 1)
    })
  )

  it.live("fails as other calls do, without the key in the message", () =>
    Effect.gen(function* () {
      const server = yield* serve(json({ error: { message: "wrong key secret-key-1" } }, 401))
      const model = OpenAi.layerTranscription({ model: "m", ...at(server.url) })
      const error = yield* Effect.flip(
        Effect.provide(Transcription.transcribe({ mediaType: "audio/wav", data: png }), model)
      )
      assert.strictEqual(reasonOf(error), "AuthenticationError")
      assert.notInclude(error.message, "secret-key-1")
    })
  )
})

describe("AiSdk", () => {
  const model = (doGenerate: (options: any) => PromiseLike<unknown>): AiSdk.MediaModel =>
    ({ specificationVersion: "v4", provider: "fake.media", modelId: "m", doGenerate }) as AiSdk.MediaModel

  it.live("makes images by a package's model over its own wire", () =>
    Effect.gen(function* () {
      const server = yield* serve(json({ data: [{ b64_json: pngText }] }))
      const painter = createOpenAICompatible({ name: "local", baseURL: server.url }).imageModel("m")
      const { images } = yield* Effect.provide(
        Images.generate({ prompt: "a cat", size: "256x256" }),
        AiSdk.layerImages(painter, { retry: "none" })
      )
      assert.deepStrictEqual(images, [{ mediaType: "image/png", data: png }])
    })
  )

  it.live("calls models of the interfaces of @ai-sdk/provider with all that they take", () =>
    Effect.gen(function* () {
      const asked: Array<object> = []
      const about = { specificationVersion: "v4", provider: "fake.media", modelId: "m" } as const
      const response = { timestamp: new Date(0), modelId: "m", headers: {} }
      const painter: ImageModelV4 = {
        ...about,
        maxImagesPerCall: ({ modelId }) => Promise.resolve(modelId === "m" ? 2 : 1),
        doGenerate: async (options) => {
          asked.push(options)
          const usage = { inputTokens: 1, outputTokens: options.n, totalTokens: undefined }
          return { images: Array.from({ length: options.n }, () => pngText), warnings: [], response, usage }
        }
      }
      const made = yield* Effect.provide(
        Images.generate({ prompt: "cats", count: 5, aspectRatio: "1:1", seed: 7 }),
        AiSdk.layerImages(painter, { providerOptions: { fake: { style: "calm" } } })
      )
      assert.lengthOf(made.images, 5)
      assert.deepStrictEqual(made.usage, { inputTokens: 3, outputTokens: 5 })
      const { abortSignal, ...first } = asked[0] as ImageModelV4CallOptions
      assert.instanceOf(abortSignal, AbortSignal)
      assert.deepStrictEqual(first, {
        prompt: "cats",
        n: 2,
        size: undefined,
        aspectRatio: "1:1",
        seed: 7,
        files: undefined,
        mask: undefined,
        providerOptions: { fake: { style: "calm" } }
      })
      const speaker: SpeechModelV4 = {
        ...about,
        doGenerate: async (options) => (asked.push(options), { audio: png, warnings: [], response })
      }
      yield* Effect.provide(
        Speech.synthesize({ text: "hi", speed: 2, instructions: "calm" }),
        AiSdk.layerSpeech(speaker)
      )
      assert.deepInclude(asked[3], { text: "hi", speed: 2, instructions: "calm", outputFormat: "mp3" })
      const writer: TranscriptionModelV4 = {
        ...about,
        doGenerate: async (options) => {
          asked.push(options)
          const segments = [{ text: "hi", startSecond: 0, endSecond: 1.5 }]
          return { text: "hi", segments, language: "en", durationInSeconds: 1.5, warnings: [], response }
        }
      }
      const written = yield* Effect.provide(
        Transcription.transcribe({ mediaType: "audio/wav", data: png, segments: true }),
        AiSdk.layerTranscription(writer)
      )
      assert.deepStrictEqual(written, {
        text: "hi",
        segments: [{ text: "hi", startSecond: 0, endSecond: 1.5 }],
        language: "en",
        durationSeconds: 1.5
      })
      assert.deepInclude(asked[4], { mediaType: "audio/wav", timestampGranularities: ["segment"] })
    })
  )

  it.live("speaks and writes down, within limits, and gives up what is interrupted", () =>
    Effect.gen(function* () {
      const asked: Array<any> = []
      const speaker = model(async (options) => (asked.push(options), { audio: pngText, warnings: [] }))
      const said = yield* Effect.provide(
        Speech.synthesize({ text: "hi", format: "wav" }),
        AiSdk.layerSpeech(speaker, { voice: "nova" })
      )
      assert.deepStrictEqual(said, { mediaType: "audio/wav", data: png })
      assert.deepInclude(asked[0], { text: "hi", voice: "nova", outputFormat: "wav" })
      const small = AiSdk.layerSpeech(speaker, { maxAnswerBytes: 2, retry: "none" })
      assert.match((yield* Effect.flip(Effect.provide(Speech.synthesize({ text: "hi" }), small))).message, /9 bytes/)
      const writer = model(async () => ({ text: "hi", segments: [], durationInSeconds: 2 }))
      const recording = { mediaType: "audio/wav", data: png }
      const { durationSeconds, text } = yield* Effect.provide(
        Transcription.transcribe(recording),
        AiSdk.layerTranscription(writer)
      )
      assert.deepStrictEqual([text, durationSeconds], ["hi", 2])
      let signal: AbortSignal | undefined
      const never = model((options) => ((signal = options.abortSignal), new Promise(() => {})))
      const fiber = yield* Effect.forkChild(
        Effect.provide(Transcription.transcribe(recording), AiSdk.layerTranscription(never)),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.isTrue(signal?.aborted)
      assert.throws(() => AiSdk.layerSpeech("tts-1" as never), /not a model of the AI SDK/)
      const sync = Effect.runSyncExit(Effect.provide(Speech.synthesize({ text: "x" }), AiSdk.layerSpeech(speaker)))
      assert.isTrue(Exit.isFailure(sync))
    })
  )
})

describe("as tools of an agent", () => {
  const painter = Layer.succeed(Images.Images, {
    generate: ({ prompt }) =>
      prompt === "nothing"
        ? Effect.succeed({ images: [], usage: { inputTokens: 0, outputTokens: 0 } })
        : Effect.succeed({
            images: [{ mediaType: "image/png", data: png }],
            usage: { inputTokens: 1, outputTokens: 1 }
          })
  })

  it.effect("an image is shown to the model, or kept by the program", () =>
    Effect.gen(function* () {
      const kept: Array<Images.Image> = []
      const { calls } = yield* TestModel.TestModel
      yield* Agent.make("shown", { tools: [Images.tool()] }).run("Draw")
      const save = (image: Images.Image) => Effect.sync(() => `image ${kept.push(image)}`)
      yield* Agent.make("kept", { tools: [Images.tool({ save })] }).run("Draw")
      const results = (yield* calls).flatMap(({ prompt }) =>
        prompt.content.flatMap((message) =>
          message.role === "tool" ? message.content.filter((part) => part.type === "tool-result") : []
        )
      )
      assert.deepStrictEqual(
        results[0]!.modelOutput?.map(({ type }) => type),
        ["text", "file"]
      )
      assert.deepStrictEqual(results[1]!.result, { mediaType: "image/png", bytes: 9, saved: "image 1" })
      assert.deepStrictEqual(kept, [{ mediaType: "image/png", data: png }])
    }).pipe(
      Effect.provide(painter),
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("generate_image", { prompt: "a cat" }),
          "done",
          TestModel.toolCall("generate_image", { prompt: "a cat" }),
          "done"
        ])
      )
    )
  )

  it.effect("a text is said, a recording is read, and a failure is the model's to see", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        tools: [
          Images.tool(),
          Speech.tool({ save: async ({ data }) => `${data.length} bytes` }),
          Transcription.tool({
            description: "Reads calls",
            load: (name) => {
              if (name !== "call 1") throw new Error("there is no such call")
              return { mediaType: "audio/wav", data: png }
            }
          })
        ]
      })
      const { transcript } = yield* agent.result("Go")
      const results = transcript.content.flatMap((message) =>
        message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part] : [])) : []
      )
      assert.deepStrictEqual(
        results.map(({ isFailure }) => isFailure),
        [true, false, false, true]
      )
      assert.deepStrictEqual(results[1]!.result, { mediaType: "audio/mpeg", bytes: 9, saved: "9 bytes" })
      assert.deepStrictEqual(results[2]!.result, { text: "Hello.", durationSeconds: 2 })
      assert.include(JSON.stringify(results[3]!.result), "there is no such call")
    }).pipe(
      Effect.provide(painter),
      Effect.provide(
        Layer.succeed(Speech.Speech, { synthesize: () => Effect.succeed({ mediaType: "audio/mpeg", data: png }) })
      ),
      Effect.provide(
        Layer.succeed(Transcription.Transcription, {
          transcribe: () => Effect.succeed({ text: "Hello.", segments: [], language: undefined, durationSeconds: 2 })
        })
      ),
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            { name: "generate_image", params: { prompt: "nothing" } },
            { name: "speak", params: { text: "Hi" } },
            { name: "transcribe", params: { recording: "call 1" } },
            { name: "transcribe", params: { recording: "call 2" } }
          ),
          "done"
        ])
      )
    )
  )
})
