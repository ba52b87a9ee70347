/** Two hundred tools as MCP servers have them, and what people ask for with the tool that does it. */
import { Schema } from "effect"
import { AgentTool } from "troupe"

const things: Readonly<Record<string, ReadonlyArray<readonly [thing: string, about: string]>>> = {
  github: [
    ["issue", "an issue in a repository"],
    ["pull_request", "a pull request"],
    ["branch", "a branch of a repository"],
    ["release", "a release with its notes"],
    ["workflow_run", "a run of a CI workflow"]
  ],
  slack: [
    ["message", "a message in a channel"],
    ["channel", "a channel of the workspace"],
    ["reminder", "a reminder for a person"],
    ["user_status", "the status of a user"]
  ],
  gmail: [
    ["draft", "a draft of an e-mail"],
    ["email", "an e-mail in the inbox"],
    ["label", "a label of e-mails"],
    ["filter", "a filter for incoming e-mails"]
  ],
  calendar: [
    ["event", "a meeting in the calendar"],
    ["attendee", "a person who is invited to a meeting"],
    ["free_slot", "a time at which all are free"]
  ],
  drive: [
    ["file", "a file in the drive"],
    ["folder", "a folder in the drive"],
    ["permission", "who may read a shared document"]
  ],
  stripe: [
    ["invoice", "an invoice for a customer"],
    ["refund", "a refund of a payment"],
    ["subscription", "a subscription of a customer"],
    ["coupon", "a coupon with a discount"]
  ],
  postgres: [
    ["table", "a table of the database"],
    ["index", "an index on columns"],
    ["row", "rows of a table, by SQL"]
  ],
  kubernetes: [
    ["pod", "a pod in a namespace"],
    ["deployment", "a deployment and its replicas"],
    ["secret", "a secret of the cluster"]
  ],
  jira: [
    ["sprint", "a sprint of a board"],
    ["epic", "an epic with its stories"],
    ["worklog", "the hours that were worked on a ticket"]
  ],
  weather: [["forecast", "the weather of the next days in a city"]],
  maps: [
    ["route", "the way between two places, by car or train"],
    ["place", "restaurants, hotels and shops near a place"]
  ],
  images: [
    ["thumbnail", "a smaller copy of a picture"],
    ["caption", "a text that describes a picture"]
  ],
  notion: [
    ["page", "a page in the wiki"],
    ["comment", "a comment on a page"]
  ]
}
const verbs = { create: "Create", list: "List", get: "Get", update: "Change", delete: "Delete" } as const

/** The tools. */
export const catalog = Object.entries(things).flatMap(([server, all]) =>
  all.flatMap(([thing, about]) =>
    Object.entries(verbs).map(([verb, Verb]) =>
      AgentTool.fromFunction(`${server}_${verb}_${thing}`, {
        description: `${Verb} ${about}. Use it for ${server} only. It returns the ${thing.replaceAll("_", " ")} as JSON, with its id, the time of the last change and a link.`,
        parameters: Schema.Struct({
          id: Schema.String.annotate({ description: `The id of the ${thing}` }),
          fields: Schema.optionalKey(
            Schema.Array(Schema.String).annotate({ description: "Which fields to return. Default: all" })
          ),
          dry_run: Schema.optionalKey(Schema.Boolean.annotate({ description: "Only check, and do nothing" }))
        }),
        execute: ({ id }) => `${server} ${verb} ${thing} ${id}`
      })
    )
  )
)

/** What a model asks the search for, and the tool that does it. */
export const wanted: ReadonlyArray<readonly [query: string, tool: string]> = [
  ["open a ticket about a bug on GitHub", "github_create_issue"],
  ["list open pull requests", "github_list_pull_request"],
  ["remove an old branch", "github_delete_branch"],
  ["publish a new release", "github_create_release"],
  ["see why the CI failed", "github_get_workflow_run"],
  ["post a message to a Slack channel", "slack_create_message"],
  ["remind someone tomorrow", "slack_create_reminder"],
  ["set my status", "slack_update_user_status"],
  ["write a draft e-mail", "gmail_create_draft"],
  ["search my inbox for e-mails", "gmail_list_email"],
  ["delete an email", "gmail_delete_email"],
  ["schedule a meeting", "calendar_create_event"],
  ["find a time when everybody is free", "calendar_list_free_slot"],
  ["cancel the appointment", "calendar_delete_event"],
  ["invite a person to the meeting", "calendar_create_attendee"],
  ["read a file from the drive", "drive_get_file"],
  ["make a folder", "drive_create_folder"],
  ["who can read this document", "drive_get_permission"],
  ["give a customer the money back for a payment", "stripe_create_refund"],
  ["send an invoice to a customer", "stripe_create_invoice"],
  ["cancel a subscription", "stripe_delete_subscription"],
  ["make a discount coupon", "stripe_create_coupon"],
  ["run SQL and read rows", "postgres_get_row"],
  ["which tables does the database have", "postgres_list_table"],
  ["scale a deployment to more replicas", "kubernetes_update_deployment"],
  ["show the pods in a namespace", "kubernetes_list_pod"],
  ["log hours on a ticket", "jira_create_worklog"],
  ["weather in Rome next days", "weather_get_forecast"],
  ["how do I get from Berlin to Paris by train", "maps_get_route"],
  ["restaurants near the hotel", "maps_list_place"],
  ["shrink a picture", "images_create_thumbnail"],
  ["describe an image in a text", "images_create_caption"],
  ["edit a wiki page", "notion_update_page"],
  ["comment on a page", "notion_create_comment"]
]
