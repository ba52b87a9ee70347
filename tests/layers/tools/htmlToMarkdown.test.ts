/** What a page becomes for a model: nothing that its readers see is lost, and nothing that they do not see is there. */
import { assert, describe, it } from "vitest"
import htmlToMarkdown from "../../../src/layers/tools/internal/htmlToMarkdown.ts"

const convert = (html: string) => htmlToMarkdown({ html, base: "http://a.test/dir/page" })
const becomes = (cases: Readonly<Record<string, string>>) => {
  for (const [html, markdown] of Object.entries(cases)) assert.strictEqual(convert(html), markdown, html)
}

describe("a table", () => {
  it("is a Markdown table, with its empty cells", () => {
    becomes({
      "<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Free</td><td>$0</td></tr><tr><td>Pro</td><td></td></tr></table>":
        "| Plan | Price |\n| --- | --- |\n| Free | $0 |\n| Pro |  |",
      "<table><tbody><tr><td>a<td><tr><td><td>d</table>": "|  |  |\n| --- | --- |\n| a |  |\n|  | d |",
      "<table><thead><tr><td>A</td><td>B</td></tr></thead><tfoot><tr><td>3</td></tr></tfoot></table>":
        "| A | B |\n| --- | --- |\n| 3 |  |"
    })
  })

  it("keeps links, code and lines in its cells, and its caption above it", () => {
    becomes({
      "<table><caption>Prices <b>now</b></caption><tr><th>a|b</th><th><code>x</code></th></tr><tr><td><a href=/c>c</a></td><td><p>1</p><p>2<br>3</p></td></tr></table>":
        "Prices **now**\n\n| a\\|b | `x` |\n| --- | --- |\n| [c](http://a.test/c) | 1<br>2<br>3 |"
    })
  })

  it("has each text of a cell that spans rows in all of them", () => {
    becomes({
      "<table><tr><th>h<th colspan=2>wide</tr><tr><td rowspan=2>r<td>1<td>2</tr><tr><td>3<td>4</tr></table>":
        "| h | wide |  |\n| --- | --- | --- |\n| r | 1 | 2 |\n| r | 3 | 4 |"
    })
  })

  it("that only places things is what is in it", () => {
    becomes({
      "<table><tr><td>one</td></tr><tr><td>two</td></tr></table>": "one\n\ntwo",
      "<table role=presentation><tr><td>one</td><td>two</td></tr></table>": "one\n\ntwo",
      "<table><tr><td><table><tr><td>a</td><td>b</td></tr></table></td><td>c</td></tr></table>":
        "|  |  |\n| --- | --- |\n| a | b |\n\nc"
    })
  })

  it("that would grow without end does not", () => {
    const wide = `<tr>${"<td rowspan=1000 colspan=1000>x".repeat(2000)}</tr>${"<tr><td>y".repeat(2000)}`
    const tall = `<tr>${"<td>x".repeat(5000)}</tr>${"<tr><td>y".repeat(5000)}`
    for (const rows of [wide, tall]) assert.isBelow(convert(`<table>${rows}</table>`).length, 1_000_000)
  })
})

it("preformatted text is fenced, with its lines and its language", () => {
  becomes({
    "<pre>  a\n\n<b>b</b>_c_<br>d\n</pre>": "```\n  a\n\nb_c_\nd\n```",
    '<pre><code class="language-js">x = 1\n</code></pre>': "```js\nx = 1\n```",
    '<div class="highlight highlight-source-python"><pre>y</pre></div>': "```python\ny\n```",
    "<pre>```\nx\n```</pre>": "````\n```\nx\n```\n````"
  })
})

it("definitions, raised and struck out texts, choices and buttons stay apart", () => {
  becomes({
    "<dl><dt>A</dt><dd>one</dd><dd><p>two</p><p>three</p></dd><dt>B</dt><dd>four</dd></dl>":
      "A\n: one\n: two\n  \n  three\n\nB\n: four",
    "a<sup>2</sup>, H<sub>2</sub>O, x<sup>n+1</sup>, 4<sup>th</sup>, y<sub>k</sub>": "a², H₂O, xⁿ⁺¹, 4^(th), y_k",
    "so<sup><a href=#1>[1]</a></sup>": "so[\\[1\\]](http://a.test/dir/page#1)",
    "<del>9</del> <s>8</s> <ins>7</ins>": "~~9~~ ~~8~~ 7",
    "<select><option>o1<option selected>o2</select><button>b</button><button>c</button>": "[o1 | o2]  b  c",
    "<details><summary>More</summary>text</details>": "More\n\ntext"
  })
})

it("a page that only sends its reader on says where", () => {
  becomes({
    '<meta http-equiv="refresh" content="0; url=/next">': "This page redirects to http://a.test/next",
    "<head><META HTTP-EQUIV=Refresh CONTENT=\"5;URL='https://b.test/?a=1'\"></head>":
      "This page redirects to https://b.test/?a=1",
    '<meta http-equiv="refresh" content="30">text': "text",
    '<meta http-equiv="refresh" content="0;url=javascript:alert(1)">text': "text",
    '<noscript><meta http-equiv="refresh" content="0;url=/nojs"></noscript>text': "text",
    '<meta name="description" content="0;url=/x">text': "text"
  })
})

describe("what readers do not see is left out", () => {
  for (const hidden of [
    "<p hidden>NO</p>",
    "<b style='display:none'>NO</b>",
    "<b style='color:red;DISPLAY : none!important'>NO</b>",
    "<b style='display:/* x */none'>NO</b>",
    "<b style='d\\69 splay:none'>NO</b>",
    "<b style='&#100;isplay:none'>NO</b>",
    "<h2 style='visibility: hidden'>NO</h2>",
    "<a href=/x style='opacity:0'>NO</a>",
    "<span style='font-size:0px'>NO</span>",
    "<div style='position:absolute;left:-9999px'>NO</div>",
    "<div style='text-indent:-10000em'>NO</div>",
    "<div style='height:0;overflow:hidden'>NO</div>",
    "<span style='clip:rect(0,0,0,0)'>NO</span>",
    "<table style='display:none'><tr><td>NO<td>NO</table>",
    "<ul><li style='display:none'>NO</ul>",
    "<dialog>NO</dialog>",
    "<template>NO</template>",
    "<div popover>NO</div>",
    "<svg><text>NO</text></svg>",
    "<style>.x, b.y { color: red; display: none }</style><p class='a X'>NO</p><b class=y>NO</b>",
    "<style>#x{visibility:hidden}</style><p id=x>NO</p>",
    "<pre><i hidden>NO</i></pre>",
    "<select hidden><option>NO</select>"
  ]) {
    it(hidden, () =>
      assert.strictEqual(convert(`<p>before</p>${hidden}<p>after</p>`).replace(/\s*[-`]*\s+/, " "), "before after")
    )
  }

  for (const seen of [
    "<p style='opacity:0.5'>YES</p>",
    "<p style='font-size:0.9em'>YES</p>",
    "<p style='margin-left:-1px'>YES</p>",
    "<p style='display:none-of-it'>YES</p>",
    "<p style='--x:display:none'>YES</p>",
    "<p hidden=until-found>YES</p>",
    "<p aria-hidden=true>YES</p>",
    "<p data-hidden title='display:none'>YES</p>",
    "<dialog open>YES</dialog>",
    "<style>@media print { .a { color: red } .x { display: none } } .y { display: none }</style><p class=x>YES</p>",
    "<style>.a .x { display: none } body { display: none }</style><p class=x>YES</p>"
  ]) {
    it(`and what they do is not: ${seen}`, () => assert.strictEqual(convert(seen), "YES"))
  }
})
