// A piece of a recorded picture: the names of its lanes, and the rows of some moments.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FOLDER } from './recording.mjs'

/** What is seen above and below a row. */
const ABOVE = 18
const BELOW = 16

/**
 * The rows of a picture for a fence: ` ```picture recorded=05-audience from=0.1 to=0.3 `, in seconds.
 * Throws when there is no such picture, or no row at that time.
 */
export function picture(root, { recorded, from = '0', to = 'Infinity' }) {
  const path = join(FOLDER, `${recorded}.svg`)
  if (!existsSync(join(root, path))) {
    throw new Error(`no ${path}: write \`# picture: yes\` into ${recorded}.txt, then \`just slides --record ${recorded}\``)
  }
  const svg = readFileSync(join(root, path), 'utf8')
  const [, width, height] = svg.match(/viewBox="0 0 (\d+) (\d+)"/).map(Number)
  const heads = Number(svg.match(/class="name" x="\d+" y="(\d+)"/)[1]) - 14
  const rows = [...svg.matchAll(/class="time" x="\d+" y="(\d+)">([\d.]+)</g)].map(([, y, t]) => [Number(y), Number(t)])
  const shown = rows.filter(([, t]) => t >= Number(from) && t <= Number(to)).map(([y]) => y)
  if (shown.length === 0) throw new Error(`${path} has no row from ${from} to ${to} s`)
  const [top, bottom] = [Math.min(...shown) - ABOVE, Math.max(...shown) + BELOW]
  const image = `data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`
  // The same image twice, through two windows.
  const window = (at, from, high) =>
    `<svg y="${at}" width="${width}" height="${high}" viewBox="0 ${from} ${width} ${high}"><image href="${image}" width="${width}" height="${height}"/></svg>`
  const says = svg.match(/<title id="title">([^<]*)/)[1]
  return `<svg class="picture" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${34 + bottom - top}" role="img" aria-label="${says}">${window(0, heads, 34)}${window(34, top, bottom - top)}</svg>`
}
