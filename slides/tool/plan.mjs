// The minutes of decks and labs, and courses made of them.

import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { decks, root, sources } from './place.mjs'
import { plan } from './prepare.mjs'

/** Minutes and slides of a deck. Throws when a slide's notes do not say `minutes: N`. */
export function minutesOf(name) {
  const slides = plan(readFileSync(join(sources, `${name}.md`), 'utf8'))
  const without = slides.findIndex(({ minutes }) => Number.isNaN(minutes))
  if (without >= 0) throw new Error(`${name}, slide ${without + 1}: its notes do not say \`minutes: N\``)
  return { slides: slides.length, minutes: slides.reduce((sum, { minutes }) => sum + minutes, 0) }
}

/** The minutes that a lab's text gives, by chapter: the first number under `## Minutes`. */
export function labs() {
  const chapters = readdirSync(join(root, 'labs')).filter((name) => /^\d\d-/.test(name))
  return Object.fromEntries(
    chapters.map((name) => {
      const text = readFileSync(join(root, 'labs', name, 'README.md'), 'utf8')
      return [name.slice(0, 2), Number(text.match(/^## Minutes\n\n[^0-9]*(\d+)/m)?.[1])]
    }),
  )
}

/** A course's parts with the minute at which each begins. */
export function timed(course, lengths) {
  let at = 0
  return course.parts.map((part) => {
    const minutes = part.minutes ?? lengths[part.deck]
    if (!minutes) throw new Error(`${course.name}: how long is ${JSON.stringify(part)}?`)
    const begins = at
    at += minutes
    return { ...part, begins, minutes, ends: at }
  })
}

export function courses() {
  return JSON.parse(readFileSync(join(sources, 'courses.json'), 'utf8'))
}

/** All of it, for a person. */
export function lessonPlan() {
  const all = decks().map((name) => ({ name, ...minutesOf(name) }))
  const inClass = labs()
  const lines = ['deck                      slides  minutes  lab']
  for (const { name, slides, minutes } of all) {
    const lab = inClass[name.slice(0, 2)] ?? '-'
    lines.push(`${name.padEnd(26)}${String(slides).padStart(6)}${String(minutes).padStart(9)}${String(lab).padStart(5)}`)
  }
  const sum = (list) => list.reduce((total, number) => total + number, 0)
  const totals = [sum(all.map((d) => d.slides)), sum(all.map((d) => d.minutes)), sum(Object.values(inClass))]
  lines.push(`${'all'.padEnd(26)}${String(totals[0]).padStart(6)}${String(totals[1]).padStart(9)}${String(totals[2]).padStart(5)}`)
  const lengths = Object.fromEntries(all.map(({ name, minutes }) => [name.slice(0, 2), minutes]))
  for (const course of courses()) {
    const parts = timed(course, lengths)
    lines.push('', `${course.name}: ${parts.at(-1).ends} of ${course.minutes} minutes. ${course.note}`)
    for (const part of parts) {
      const name = all.find(({ name }) => name.startsWith(`${part.deck}-`))?.name
      const what = part.say ?? (part.deck ? `slides ${name}` : `just lab ${part.lab}: ${part.what}`)
      lines.push(`  ${clock(part.begins)}  ${String(part.minutes).padStart(3)} min  ${what}`)
    }
  }
  return lines.join('\n')
}

function clock(exact) {
  const minutes = Math.round(exact)
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`
}
