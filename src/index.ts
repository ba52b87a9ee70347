/** The public face: one namespace for each module, nothing else. */
export * as Agent from "./agents/Agent.ts"
export * as AgentTool from "./AgentTool.ts"
export * as CurrentRun from "./services/CurrentRun.ts"
export * as ModelInfo from "./services/ModelInfo.ts"
export * as RunError from "./RunError.ts"
export * as RunEvent from "./RunEvent.ts"
export * as Runner from "./Runner.ts"
export * as Telemetry from "./services/Telemetry.ts"
