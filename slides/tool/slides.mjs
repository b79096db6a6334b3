// `just slides`: see HELP.

import { parseArgs } from 'node:util'
import { relative } from 'node:path'
import { html, pdf } from './build.mjs'
import { check } from './check.mjs'
import { deck, decks, install, root } from './place.mjs'
import { lessonPlan } from './plan.mjs'
import { record } from './record.mjs'
import { guarded } from './trouble.mjs'

const HELP = `just slides [NN…]        HTML and PDF of these decks, or of all, into target/slides/
  --students             without the slides that give a hole away
  --plan                 the minutes of each deck and lab, and courses made of them
  --check                build, and measure each slide in a browser: nothing overflows
  --record [NAME…]       run the commands of slides/recorded/ again, and keep what they print`

const options = {
  students: { type: 'boolean' },
  plan: { type: 'boolean' },
  check: { type: 'boolean' },
  record: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
}

await guarded(async () => {
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  if (values.help) return console.log(HELP)
  if (values.record) return record(positionals)
  if (values.plan) return console.log(lessonPlan())
  const names = positionals.length ? positionals.map(deck) : decks()
  install()
  if (values.check) return check(names)
  const { students } = values
  for (const name of names) {
    const made = [html(name, { students })]
    made.push(pdf(name, { students }))
    console.log(made.map((file) => relative(root, file)).join('  '))
  }
})
