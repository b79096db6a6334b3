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

/** The minutes of each lab's parts A and B, by chapter: `minutes = [50, 70]` in its manifest. */
export function labs() {
  const chapters = readdirSync(join(root, 'labs')).filter((name) => /^\d\d-/.test(name))
  return Object.fromEntries(
    chapters.map((name) => {
      const manifest = readFileSync(join(root, 'labs', name, 'Cargo.toml'), 'utf8')
      const [, a, b] = manifest.match(/^minutes = \[(\d+), (\d+)\]$/m) ?? []
      return [name.slice(0, 2), { a: Number(a), b: Number(b) }]
    }),
  )
}

/** A session's steps with the minute at which each begins. */
export function timed(steps, decks, labs) {
  let at = 0
  return steps.map((step) => {
    const minutes = step.minutes ?? decks[step.deck] ?? labs[step.lab]?.[step.part]
    if (!minutes) throw new Error(`how long is ${JSON.stringify(step)}?`)
    const begins = at
    at += minutes
    return { ...step, begins, minutes, ends: at }
  })
}

/** Each has sessions of at most `minutes`, and each session steps: a deck, a part of a lab, or something to say. */
export function courses() {
  return JSON.parse(readFileSync(join(sources, 'courses.json'), 'utf8'))
}

/** All of it, for a person. */
export function lessonPlan() {
  const all = decks().map((name) => ({ name, ...minutesOf(name) }))
  const inClass = labs()
  const lines = ['deck                      slides  minutes  lab: part A  part B']
  const line = (name, ...numbers) =>
    lines.push(name.padEnd(26) + numbers.map((number, i) => String(number).padStart([6, 9, 13, 8][i])).join(''))
  for (const { name, slides, minutes } of all) {
    const { a, b } = inClass[name.slice(0, 2)] ?? { a: '-', b: '-' }
    line(name, slides, minutes, a, b)
  }
  const sum = (list) => list.reduce((total, number) => total + number, 0)
  const ofLabs = Object.values(inClass)
  line('all', ...[all.map((d) => d.slides), all.map((d) => d.minutes), ofLabs.map(({ a }) => a), ofLabs.map(({ b }) => b)].map(sum))
  const lengths = Object.fromEntries(all.map(({ name, minutes }) => [name.slice(0, 2), minutes]))
  for (const course of courses()) {
    lines.push('', `${course.name}, ${course.minutes} minutes${course.sessions.length > 1 ? ' each' : ''}. ${course.note}`)
    course.sessions.forEach((steps, index) => {
      if (course.sessions.length > 1) lines.push(`  session ${index + 1}`)
      for (const step of timed(steps, lengths, inClass)) {
        const name = all.find(({ name }) => name.startsWith(`${step.deck}-`))?.name
        const what = step.say ?? (step.deck ? `slides ${name}` : `just lab ${step.lab} --part ${step.part}`)
        lines.push(`  ${clock(step.begins)}  ${String(step.minutes).padStart(4)} min  ${what}`)
      }
    })
  }
  return lines.join('\n')
}

function clock(exact) {
  const minutes = Math.round(exact)
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`
}
