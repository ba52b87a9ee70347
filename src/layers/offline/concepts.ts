/** Words that stand for each other when a request is matched with a tool, a label or a sentence. Pure. */
import { stem } from "./text.ts"

const groups = `add plus sum total addition combine
subtract minus difference deduct subtraction
multiply times product multiplication
divide quotient division ratio
power exponent exponentiate raise squared cubed
calculate compute evaluate math arithmetic calculator calculation expression
search find lookup google query seek look locate
weather forecast temperature rain sunny climate snow humidity windy cloudy
translate translation translator
email mail message notify send
sms text message
book reserve reservation booking
schedule appointment meeting calendar event
delete remove erase drop
create make new generate
list show display enumerate
read open load fetch get retrieve
write save store persist
price cost amount fee charge value
convert conversion exchange transform
buy purchase order
customer client user
bill invoice payment charge refund billing pay paid subscription overcharge receipt
bug crash error broken fail failure defect exception technical freeze glitch outage login timeout
legal law contract compliance regulation lawsuit liability gdpr clause
security vulnerability attack breach threat password exploit injection phishing leak
finance financial budget revenue profit accounting money
shipping delivery ship parcel package courier dispatch track
complaint unhappy angry disappointed dissatisfied
feature request suggestion enhancement wish
question ask inquiry information how
sport football soccer basketball tennis match league goal team
politics election government parliament president minister senate vote
technology software computer hardware app device internet
health medical doctor medicine disease hospital patient symptom
travel trip flight hotel holiday vacation
urgent critical asap immediately emergency severe blocker outage
hire employ recruit candidate
start begin launch open
end finish close stop
big large huge
small little tiny
fast quick rapid speed performance slow
car vehicle automobile
city town place location
film movie cinema
file document
picture image photo
remind reminder alarm
call phone ring telephone dial
time clock hour
currency dollar euro yen pound usd eur
distance length mile kilometer km metre meter
stock share ticker quote
news headline article latest
music song play playlist
recipe cook dish ingredient
random dice roll
count number quantity many
reverse backwards invert
uppercase capital capitalize
lowercase small
square squared
root sqrt
average mean
largest maximum max highest
smallest minimum min lowest
positive good great happy love excellent
negative bad terrible sad hate awful
approve accept allow agree
reject deny refuse decline`

let index: Map<string, ReadonlySet<string>> | undefined

const build = (): Map<string, ReadonlySet<string>> => {
  const out = new Map<string, Set<string>>()
  for (const line of groups.split("\n")) {
    const group = line.split(" ").map(stem)
    for (const item of group) {
      const known = out.get(item) ?? new Set<string>()
      for (const other of group) if (other !== item) known.add(other)
      out.set(item, known)
    }
  }
  return out
}

const none: ReadonlySet<string> = new Set()

/** The stems that mean about the same as `item`. */
export const concept = (item: string): ReadonlySet<string> => (index ??= build()).get(item) ?? none

/** Operators as words, for a request such as `2 + 40`. */
export const operatorWords = (text: string): Array<string> => {
  const out: Array<string> = []
  const short = text.slice(0, 4_000)
  const near = (operator: string) => new RegExp(`[\\d)%]\\s*${operator}\\s*[-(\\d$€£]`).test(short)
  if (near("\\+")) out.push("add", "plus", "sum")
  if (/[\d)]\s+[-−–]\s+[(\d]|\d[-−]\d/.test(short) && !/\d{4}-\d{2}-\d{2}/.test(short)) out.push("subtract", "minus")
  if (near("(?:\\*|×|·|x)")) out.push("multiply", "times", "product")
  if (near("(?:/|÷|:)") && !/\d:\d\d|\d\/\d+\/\d/.test(short)) out.push("divide", "division")
  if (near("(?:\\^|\\*\\*)")) out.push("power", "exponent")
  if (/√/.test(short)) out.push("root", "sqrt")
  if (/\d\s*!/.test(short)) out.push("factorial")
  if (out.length > 0) out.push("calculate")
  return out.map(stem)
}
