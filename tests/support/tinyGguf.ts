/**
 * A model of llama.cpp that is made here: one layer with random weights and a vocabulary of bytes. It says nothing that makes
 * sense, and runs the real code for loading and generating.
 */
import { writeFileSync } from "node:fs"

const embedding = 64
const feedForward = 128
const heads = 4
const vocabulary = 259

const u32 = (n: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}
const u64 = (n: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(n))
  return bytes
}
const f32 = (n: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(n)
  return bytes
}
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

/** The types of values in a GGUF file. */
const types = { u32: 4, i32: 5, f32: 6, text: 8, list: 9 }

const field = (key: string, type: number, value: Buffer): Buffer => Buffer.concat([text(key), u32(type), value])
const list = (key: string, type: number, items: ReadonlyArray<Buffer>): Buffer =>
  field(key, types.list, Buffer.concat([u32(type), u64(items.length), ...items]))

const tokens = [
  "<unk>",
  "<s>",
  "</s>",
  ...Array.from({ length: 256 }, (_, n) => `<0x${n.toString(16).toUpperCase().padStart(2, "0")}>`)
]

const fields = (): ReadonlyArray<Buffer> => [
  field("general.architecture", types.text, text("llama")),
  field("general.name", types.text, text("tiny")),
  field("llama.context_length", types.u32, u32(4096)),
  field("llama.embedding_length", types.u32, u32(embedding)),
  field("llama.block_count", types.u32, u32(1)),
  field("llama.feed_forward_length", types.u32, u32(feedForward)),
  field("llama.attention.head_count", types.u32, u32(heads)),
  field("llama.attention.head_count_kv", types.u32, u32(heads)),
  field("llama.attention.layer_norm_rms_epsilon", types.f32, f32(1e-5)),
  field("llama.rope.dimension_count", types.u32, u32(embedding / heads)),
  field("llama.vocab_size", types.u32, u32(vocabulary)),
  field("general.file_type", types.u32, u32(0)),
  field("tokenizer.ggml.model", types.text, text("llama")),
  list("tokenizer.ggml.tokens", types.text, tokens.map(text)),
  list(
    "tokenizer.ggml.scores",
    types.f32,
    tokens.map((_, n) => f32(-n))
  ),
  list(
    "tokenizer.ggml.token_type",
    types.i32,
    tokens.map((_, n) => u32(n === 0 ? 2 : n < 3 ? 3 : 6))
  ),
  field("tokenizer.ggml.bos_token_id", types.u32, u32(1)),
  field("tokenizer.ggml.eos_token_id", types.u32, u32(2)),
  field("tokenizer.ggml.unknown_token_id", types.u32, u32(0))
]

const tensors: ReadonlyArray<readonly [name: string, dimensions: ReadonlyArray<number>]> = [
  ["token_embd.weight", [embedding, vocabulary]],
  ["output_norm.weight", [embedding]],
  ["output.weight", [embedding, vocabulary]],
  ["blk.0.attn_norm.weight", [embedding]],
  ["blk.0.attn_q.weight", [embedding, embedding]],
  ["blk.0.attn_k.weight", [embedding, embedding]],
  ["blk.0.attn_v.weight", [embedding, embedding]],
  ["blk.0.attn_output.weight", [embedding, embedding]],
  ["blk.0.ffn_norm.weight", [embedding]],
  ["blk.0.ffn_gate.weight", [embedding, feedForward]],
  ["blk.0.ffn_up.weight", [embedding, feedForward]],
  ["blk.0.ffn_down.weight", [feedForward, embedding]]
]

/** Writes the file. The same each time. */
export const writeTinyGguf = (file: string): void => {
  let seed = 7
  const random = () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff - 0.5) * 0.2
  const padded = (bytes: number) => Math.ceil(bytes / 32) * 32
  let offset = 0
  const infos: Array<Buffer> = []
  const data: Array<Buffer> = []
  for (const [name, dimensions] of tensors) {
    const count = dimensions.reduce((a, b) => a * b, 1)
    infos.push(Buffer.concat([text(name), u32(dimensions.length), ...dimensions.map(u64), u32(0), u64(offset)]))
    const size = padded(count * 4)
    offset += size
    const values = new Float32Array(size / 4)
    for (let n = 0; n < count; n++) values[n] = name.includes("norm") ? 1 : random()
    // What the first dimension holds keeps the model from ending an answer, unless a grammar allows nothing else.
    if (name === "token_embd.weight") for (let n = 0; n < count; n += embedding) values[n] = 0.3
    if (name === "output.weight") values[2 * embedding] = -20
    data.push(Buffer.from(values.buffer))
  }
  const all = fields()
  const head = Buffer.concat([Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(all.length), ...all, ...infos])
  writeFileSync(file, Buffer.concat([head, Buffer.alloc(padded(head.length) - head.length), ...data]))
}
