// Each slide measured in a real browser: nothing leaves the frame, nothing is too small to read.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { html } from './build.mjs'
import { browser, out, use } from './place.mjs'

/** In pixels of a slide of 1280 × 720: on a screen 2 m wide, some 28 mm high. */
export const LEAST_TEXT = 18
/** The lowest part is the page number's. */
const FOOT = 44

/** Measures all slides of these decks; prints what is wrong, and gives the exit code. */
export async function check(names) {
  const profile = mkdtempSync(join(tmpdir(), 'slides-'))
  const chromium = await use('puppeteer-core').launch({
    executablePath: browser(),
    userDataDir: profile,
    // Root has no sandbox to be had; the pages are our own.
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync', '--disable-component-update'],
  })
  try {
    let wrong = 0
    let slides = 0
    const page = await chromium.newPage()
    for (const name of names) {
      const file = html(name, { template: 'bare', folder: join(out, 'check') })
      await page.goto(pathToFileURL(file).href)
      const found = await page.evaluate(measure, LEAST_TEXT, FOOT)
      slides += found.slides
      for (const { slide, what } of found.wrong) console.log(`slides/${name}.md, slide ${slide}: ${what}`)
      wrong += found.wrong.length
    }
    console.log(wrong ? `${wrong} thing(s) to mend on ${slides} slides` : `${slides} slides of ${names.length} deck(s) fit`)
    return wrong || !slides ? 1 : 0
  } finally {
    await chromium.close()
    rmSync(profile, { recursive: true, force: true })
  }
}

/** Runs in the page. */
function measure(leastText, foot) {
  const wrong = []
  const sections = [...document.querySelectorAll('section')]
  sections.forEach((section, index) => {
    const frame = section.getBoundingClientRect()
    const scale = frame.width / 1280
    const tell = (what) => wrong.push({ slide: index + 1, what })
    const texts = document.createTreeWalker(section, NodeFilter.SHOW_TEXT)
    let outside = null
    let small = null
    while (texts.nextNode()) {
      const node = texts.currentNode
      const parent = node.parentElement
      if (!node.textContent.trim() || parent.closest('style, script')) continue
      const range = document.createRange()
      range.selectNodeContents(node)
      const said = node.textContent.trim().slice(0, 40)
      for (const box of range.getClientRects()) {
        const over = Math.max(
          box.right - frame.right,
          frame.left - box.left,
          frame.top - box.top,
          box.bottom - (frame.bottom - foot * scale),
        ) / scale
        if (over > 1 && !(outside?.over > over)) outside = { over, said }
      }
      const drawn = parent instanceof SVGElement ? parent.getScreenCTM().a / scale : 1
      const size = Number.parseFloat(getComputedStyle(parent).fontSize) * drawn
      if (size < leastText - 0.2 && !(small?.size < size)) small = { size, said }
    }
    for (const box of [...section.querySelectorAll('pre, table, img, svg:not(svg svg)')].map((e) => e.getBoundingClientRect())) {
      const over = Math.max(box.right - frame.right, box.bottom - (frame.bottom - (foot - 12) * scale)) / scale
      if (over > 1 && !(outside?.over > over)) outside = { over, said: 'a box' }
    }
    for (const text of section.querySelectorAll('svg.topology g text')) {
      const box = text.parentElement.querySelector('rect')?.getBoundingClientRect()
      if (!box) continue
      const over = (text.getBoundingClientRect().width - box.width) / scale
      if (over > -4) tell(`"${text.textContent}" is wider than its box`)
    }
    for (const code of section.querySelectorAll('pre')) {
      const over = (code.scrollWidth - code.clientWidth)
      if (over > 1) tell(`code runs ${over} px over its frame`)
    }
    if (outside) tell(`"${outside.said}" is ${Math.round(outside.over)} px outside the frame`)
    if (small) tell(`"${small.said}" is ${small.size.toFixed(1)} px high; the least is ${leastText}`)
  })
  return { slides: sections.length, wrong }
}
