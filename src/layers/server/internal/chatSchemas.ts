/** The requests of OpenAI's protocols, as far as they are read. What is not named here is ignored. */
import * as Schema from "effect/Schema"

const maybe = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const TextPart = Schema.Struct({ type: Schema.Literals(["text", "input_text", "output_text"]), text: Schema.String })
const RefusalPart = Schema.Struct({ type: Schema.Literal("refusal"), refusal: Schema.String })
const ImageUrlPart = Schema.Struct({
  type: Schema.Literal("image_url"),
  image_url: Schema.Struct({ url: Schema.String })
})
const FilePart = Schema.Struct({
  type: Schema.Literal("file"),
  file: Schema.Struct({ file_data: Schema.String, filename: maybe(Schema.String) })
})
const InputImagePart = Schema.Struct({ type: Schema.Literal("input_image"), image_url: Schema.String })
const InputFilePart = Schema.Struct({
  type: Schema.Literal("input_file"),
  file_data: Schema.String,
  filename: maybe(Schema.String)
})
const InputFileUrlPart = Schema.Struct({
  type: Schema.Literal("input_file"),
  file_url: Schema.String,
  filename: maybe(Schema.String)
})
/** Any other one, which is refused by its place and its type. */
const OtherPart = Schema.Struct({ type: Schema.String })

/** A part of a message of a user. */
export const UserPart = Schema.Union([
  TextPart,
  ImageUrlPart,
  FilePart,
  InputImagePart,
  InputFilePart,
  InputFileUrlPart,
  OtherPart
])
/** A part of a message of a user. */
export type UserPart = typeof UserPart.Type

const Texts = Schema.Union([Schema.String, Schema.Array(TextPart)])
const Spoken = Schema.Union([Schema.String, Schema.Array(Schema.Union([TextPart, RefusalPart]))])
const UserContent = Schema.Union([Schema.String, Schema.Array(UserPart)])

const System = Schema.Struct({ role: Schema.Literals(["system", "developer"]), content: Texts })
const User = Schema.Struct({ role: Schema.Literal("user"), content: UserContent })
const Assistant = Schema.Struct({
  role: Schema.Literal("assistant"),
  content: maybe(Spoken),
  tool_calls: maybe(
    Schema.Array(
      Schema.Struct({
        id: Schema.String,
        type: Schema.Literal("function"),
        function: Schema.Struct({ name: Schema.String, arguments: Schema.String })
      })
    )
  )
})
const ToolResult = Schema.Struct({ role: Schema.Literal("tool"), tool_call_id: Schema.String, content: Texts })

/** A message of a chat. */
export const ChatMessage = Schema.Union([System, User, Assistant, ToolResult])
/** A message of a chat. */
export type ChatMessage = typeof ChatMessage.Type

const Tools = maybe(
  Schema.Array(
    Schema.Struct({
      type: Schema.Literal("function"),
      name: Schema.optionalKey(Schema.String),
      function: Schema.optionalKey(Schema.Struct({ name: Schema.String }))
    })
  )
)
const Format = Schema.Struct({ type: Schema.String })

/** A request for a chat completion. */
export const ChatRequest = Schema.Struct({
  model: Schema.String,
  messages: Schema.Array(ChatMessage),
  stream: maybe(Schema.Boolean),
  stream_options: maybe(Schema.Struct({ include_usage: maybe(Schema.Boolean) })),
  n: maybe(Schema.Finite),
  response_format: maybe(Format),
  logprobs: maybe(Schema.Boolean),
  modalities: maybe(Schema.Array(Schema.String)),
  tools: Tools,
  tool_choice: maybe(Schema.Json)
})
/** A request for a chat completion. */
export type ChatRequest = typeof ChatRequest.Type

const Message = Schema.Struct({
  type: Schema.optionalKey(Schema.Literal("message")),
  role: Schema.Literals(["user", "assistant", "system", "developer"]),
  content: Schema.Union([Schema.String, Schema.Array(Schema.Union([UserPart, RefusalPart]))])
})
const FunctionCall = Schema.Struct({
  type: Schema.Literal("function_call"),
  call_id: Schema.String,
  name: Schema.String,
  arguments: Schema.String
})
const FunctionCallOutput = Schema.Struct({
  type: Schema.Literal("function_call_output"),
  call_id: Schema.String,
  output: Texts
})

/** Any other one, which is refused by its place and its type. */
const OtherItem = Schema.Struct({ type: Schema.String })

/** An item of the input of a response. */
export const InputItem = Schema.Union([FunctionCall, FunctionCallOutput, Message, OtherItem])
/** An item of the input of a response. */
export type InputItem = typeof InputItem.Type

/** A request for a response. */
export const ResponsesRequest = Schema.Struct({
  model: Schema.String,
  input: Schema.Union([Schema.String, Schema.Array(InputItem)]),
  instructions: maybe(Schema.String),
  previous_response_id: maybe(Schema.String),
  stream: maybe(Schema.Boolean),
  background: maybe(Schema.Boolean),
  conversation: maybe(Schema.Json),
  prompt: maybe(Schema.Json),
  store: maybe(Schema.Boolean),
  metadata: maybe(Schema.Record(Schema.String, Schema.String)),
  text: maybe(Schema.Struct({ format: maybe(Format) })),
  tools: Tools,
  tool_choice: maybe(Schema.Json)
})
/** A request for a response. */
export type ResponsesRequest = typeof ResponsesRequest.Type
