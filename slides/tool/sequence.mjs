// What happens one after the other, drawn from a few lines of text: a lane for each program, time
// downwards. Each line after the lanes is a step; on the screen the steps appear one by one.
//
//   lane producer                       from the left
//   lane broker
//   lane worker
//   broker -> worker : basic.deliver 1  an arrow; what stands behind the colon is on it
//   broker ..> worker : redelivered     dashed         broker -x> worker : lost   never arrives
//   worker : commits the row            a note at a lane
//   worker kill                         its end        worker start   its beginning
//
// Names with blanks stand in quotes.

const COLUMN = 330
const ROW = 48
const TOP = 66

// A marker's id must be its drawing's own: one of a slide that isn't shown draws nothing.
let drawings = 0

/** The SVG for a description. Throws when a line of it cannot be read. */
export function draw(text) {
  const { lanes, steps } = parse(text)
  const id = `step-${++drawings}`
  const width = lanes.length * COLUMN
  const height = TOP + steps.length * ROW + 24
  const heads = lanes.map((lane, index) => {
    const x = at(index)
    return `<path class="lane" d="M${x} ${TOP - 14}V${height}"/><rect x="${x - 105}" y="4" width="210" height="46" rx="8"/><text x="${x}" y="34">${escape(lane)}</text>`
  })
  const drawn = steps.map((step, index) => `<g data-marpit-fragment="${index + 1}">${shape(step, id, TOP + (index + 0.62) * ROW)}</g>`)
  const marker = ['plain', 'cut', 'dashed']
    .map((kind) => `<marker id="${id}-${kind}" class="head ${kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z"/></marker>`)
    .join('')
  // One line: an empty one would end the block for Markdown.
  return `<svg class="topology sequence" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">${marker}${heads.join('')}${drawn.join('')}</svg>`
}

export function parse(text) {
  const lanes = []
  const steps = []
  const lane = (name, source) => {
    const index = lanes.indexOf(name)
    if (index < 0) throw new Error(`sequence: no lane is called ${name}: ${source}`)
    return index
  }
  for (const raw of text.split('\n')) {
    const source = raw.trim()
    if (!source) continue
    const words = source.match(/"[^"]*"|\S+/g).map((word) => word.replaceAll('"', ''))
    const [first, second, third] = words
    const style = { '->': 'plain', '-x>': 'cut', '..>': 'dashed' }[second]
    if (first === 'lane' && second && !third) lanes.push(second)
    else if (style && third && (words.length === 3 || words[3] === ':')) {
      steps.push({ style, from: lane(first, source), to: lane(third, source), text: words.slice(4).join(' ') })
    } else if (second === ':' && third) steps.push({ at: lane(first, source), text: words.slice(2).join(' ') })
    else if (['kill', 'start'].includes(second) && !third) steps.push({ at: lane(first, source), event: second })
    else throw new Error(`sequence: neither a lane nor a step: ${source}`)
  }
  if (!steps.length) throw new Error('sequence: nothing to draw')
  return { lanes, steps }
}

function at(lane) {
  return (lane + 0.5) * COLUMN
}

function shape(step, id, y) {
  if (step.event === 'kill') {
    const x = at(step.at)
    return `<path class="cross" d="M${x - 12} ${y - 12}l24 24m0 -24l-24 24"/><text class="note" x="${x + 70}" y="${y + 6}">kill -9</text>`
  }
  if (step.event === 'start') {
    return `<circle class="start" cx="${at(step.at)}" cy="${y}" r="9"/><text class="note" x="${at(step.at) + 70}" y="${y + 6}">started</text>`
  }
  if (step.at !== undefined) {
    const wide = Math.max(150, step.text.length * 11 + 24)
    return `<rect class="note" x="${at(step.at) - wide / 2}" y="${y - 19}" width="${wide}" height="36"/><text class="note" x="${at(step.at)}" y="${y + 6}">${escape(step.text)}</text>`
  }
  const [x1, x2] = [at(step.from), at(step.to)]
  const middle = (x1 + x2) / 2
  const end = step.style === 'cut' ? middle : x2
  const cross = step.style === 'cut' ? `<path class="cross" d="M${middle - 9} ${y - 9}l18 18m0 -18l-18 18"/>` : ''
  return `<path class="arrow ${step.style}" d="M${x1} ${y}H${end}" marker-end="url(#${id}-${step.style})"/>${cross}<text class="label" x="${middle}" y="${y - 9}">${escape(step.text)}</text>`
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
