// What a deck says before Marp sees it: its fences filled in from the crates and from recorded
// runs, its topologies drawn, and for students the slides left out that give a hole away.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { excerpt } from './excerpt.mjs'
import { picture } from './picture.mjs'
import { recording } from './recording.mjs'
import { draw as sequence } from './sequence.mjs'
import { draw as topology } from './topology.mjs'

const FENCE = /^```(\w+)([^\n`]*)\n([\s\S]*?)^```[ \t]*$/gm

/**
 * The deck as Marp shall have it.
 *
 * `root` is the workspace; `student` leaves out what gives a hole away. Throws when a fence
 * names a file, an anchor or a recording that is not there, with the number of the slide.
 */
export function prepare(markdown, { root, student = false }) {
  const { front, slides } = split(markdown)
  const shown = slides
    .map((slide, index) => filled(slide, index + 1, root))
    .filter(({ answer }) => !(student && answer))
    .map(({ text }) => text)
  return `${front}${shown.join('\n---\n')}`
}

/** The front matter with both its lines of dashes, and the text of each slide. */
export function split(markdown) {
  const front = markdown.match(/^---\n[\s\S]*?\n---\n/)?.[0] ?? ''
  const slides = [[]]
  let fenced = false
  for (const line of markdown.slice(front.length).split('\n')) {
    if (line.startsWith('```')) fenced = !fenced
    if (line === '---' && !fenced) slides.push([])
    else slides.at(-1).push(line)
  }
  return { front, slides: slides.map((lines) => lines.join('\n')) }
}

/** The slides of a deck, each with its heading and the minutes that its notes give it. */
export function plan(markdown) {
  return split(markdown).slides.map((slide) => ({
    heading: slide.match(/^#+ (.*)$/m)?.[1] ?? '',
    minutes: Number(slide.match(/^minutes: *([0-9.]+)$/m)?.[1] ?? Number.NaN),
  }))
}

function filled(slide, number, root) {
  let answer = /<!--\s*_class:[^>]*\banswer\b/.test(slide)
  const text = slide.replace(FENCE, (_, language, info, body) => {
    try {
      if (language === 'topology') return topology(body)
      if (language === 'sequence') return sequence(body)
      if (language === 'picture') return picture(root, words(info))
      if (language === 'terminal') return terminal(recording(root, words(info), body))
      const from = words(info).file
      if (!from) return `\`\`\`${language}\n${body}\`\`\``
      if (body.trim()) throw new Error(`a fence that names ${from} has lines of its own, too`)
      const [path, anchor] = from.split('#')
      const found = excerpt(readFileSync(join(root, path), 'utf8'), anchor, path)
      answer ||= found.answer
      return `\`\`\`${language}\n${found.lines.join('\n')}\n\`\`\``
    } catch (error) {
      throw new Error(`slide ${number}: ${error.message}`)
    }
  })
  return { text: stepped(text), answer }
}

/** What stands behind `<!-- step -->`, down to the notes, appears at the next key. */
function stepped(slide) {
  const [first, ...steps] = slide.split('<!-- step -->\n')
  return steps.reduce((before, step) => {
    const number = (before.match(/data-marpit-fragment/g)?.length ?? 0) + 1
    const [, body, notes = ''] = step.match(/^([^]*?)(\n<!--\nminutes:[^]*)?$/)
    return `${before}<div class="step" data-marpit-fragment="${number}">\n\n${body}\n\n</div>\n${notes}`
  }, first)
}

/** `file=a/b.rs#c lines=1-3` as an object. */
function words(info) {
  return Object.fromEntries(
    info
      .trim()
      .split(/\s+/)
      .filter(Boolean)
      .map((word) => word.split(/=(.*)/s).slice(0, 2)),
  )
}

function terminal(text) {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  // An empty line would end the block for Markdown.
  return `<pre class="terminal">${escaped.replace(/^$/gm, ' ')}</pre>`
}
