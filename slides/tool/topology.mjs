// Exchanges, queues and those who use them, drawn from a few lines of text.
//
//   producer  shop                      a program, at the left
//   exchange  sale fanout               with its type
//   queue     sale.finance dead         a word behind the name: dead, new, dim
//   consumer  finance                   a program, at the right
//   shop -> sale : publish              an arrow; what stands behind the colon is on it
//   sale -x> sale.finance               cut            sale ..> sale.finance   dashed
//
// A column for each kind, in that order; rows from above. `@2,1.5` behind a name puts it in
// column 2, row 1.5, both counted from 1. Names with blanks stand in quotes.

const KINDS = ['producer', 'exchange', 'queue', 'consumer']
const COLUMN = 270
const ROW = 96
const BOX = { width: 190, height: 58 }

/** The SVG for a description. Throws when a line of it cannot be read. */
export function draw(text) {
  const { nodes, arrows } = parse(text)
  const id = `head-${++drawings}`
  place(nodes)
  const all = [...nodes.values()]
  const width = Math.max(...all.map((node) => node.x)) + BOX.width / 2 + 14
  const height = Math.max(...all.map((node) => node.y)) + BOX.height / 2 + 14
  const left = Math.min(...all.map((node) => node.x)) - BOX.width / 2 - 14
  const parts = [
    ...arrows.map((arrow) => line(arrow, nodes, id)),
    ...all.map(shape),
    ...arrows.map((arrow) => label(arrow, nodes)),
  ]
  // One line: an empty one would end the block for Markdown.
  return `<svg class="topology" xmlns="http://www.w3.org/2000/svg" viewBox="${left} 0 ${width - left} ${height}" role="img">${heads(id)}${parts.join('')}</svg>`
}

// A marker's id must be its drawing's own: the browser takes the first of that id, and draws
// nothing when that one stands on a slide that isn't shown.
let drawings = 0

const heads = (id) => ['plain', 'cut', 'dashed']
  .map(
    (kind) =>
      `<marker id="${id}-${kind}" class="head ${kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z"/></marker>`,
  )
  .join('')

export function parse(text) {
  const nodes = new Map()
  const arrows = []
  for (const raw of text.split('\n')) {
    const source = raw.trim()
    if (!source) continue
    const words = source.match(/"[^"]*"|\S+/g).map((word) => word.replaceAll('"', ''))
    const arrow = words.findIndex((word) => ['->', '-x>', '..>'].includes(word))
    if (arrow === 1) {
      const [from, how, to] = words
      for (const name of [from, to]) {
        if (!nodes.has(name)) throw new Error(`topology: nothing is called ${name}: ${source}`)
      }
      if (words.length > 3 && words[3] !== ':') throw new Error(`topology: not an arrow: ${source}`)
      const style = { '->': 'plain', '-x>': 'cut', '..>': 'dashed' }[how]
      arrows.push({ from, to, style, text: words.slice(4).join(' ') })
    } else if (KINDS.includes(words[0]) && words[1]) {
      nodes.set(words[1], node(words))
    } else {
      throw new Error(`topology: neither a part nor an arrow: ${source}`)
    }
  }
  if (!nodes.size) throw new Error('topology: nothing to draw')
  return { nodes, arrows }
}

function node([kind, name, ...more]) {
  const at = more.find((word) => word.startsWith('@'))
  const [column, row] = at ? at.slice(1).split(',').map(Number) : []
  const states = more.filter((word) => ['dead', 'new', 'dim'].includes(word))
  const note = more.filter((word) => !word.startsWith('@') && !states.includes(word)).join(' ')
  return { kind, name, column, row, states, note }
}

/** Gives each node its place: nodes of a kind one below the other, short columns centred. */
function place(nodes) {
  const free = [...nodes.values()].filter((node) => !node.column)
  const used = KINDS.filter((kind) => free.some((node) => node.kind === kind))
  const tallest = Math.max(1, ...used.map((kind) => free.filter((n) => n.kind === kind).length))
  used.forEach((kind, index) => {
    const column = free.filter((node) => node.kind === kind)
    column.forEach((node, row) => {
      node.column = index + 1
      node.row = 1 + row + (tallest - column.length) / 2
    })
  })
  for (const node of nodes.values()) {
    node.x = (node.column - 0.5) * COLUMN
    node.y = (node.row - 0.5) * ROW
  }
}

function shape({ kind, name, note, states, x, y }) {
  const { width, height } = BOX
  const left = x - width / 2
  const top = y - height / 2
  const rect = (radius) =>
    `<rect x="${left}" y="${top}" width="${width}" height="${height}" rx="${radius}"/>`
  const outline = {
    producer: () => rect(8),
    consumer: () => rect(8),
    exchange: () => rect(height / 2),
    // Messages one behind the other.
    queue: () =>
      rect(0) +
      [1, 2, 3]
        .map((n) => `<path d="M${left + width - n * 9} ${top}v${height}"/>`)
        .join(''),
  }[kind]()
  const middle = kind === 'queue' ? x - 13 : x
  const words = note
    ? `<text x="${middle}" y="${y - 4}">${escape(name)}</text><text class="note" x="${middle}" y="${y + 19}">${escape(note)}</text>`
    : `<text x="${middle}" y="${y + 7}">${escape(name)}</text>`
  const cross = states.includes('dead')
    ? `<path class="cross" d="M${left} ${top}l${width} ${height}m0 ${-height}l${-width} ${height}"/>`
    : ''
  return `<g class="${[kind, ...states].join(' ')}">${outline}${words}${cross}</g>`
}

/** From the edge of one box to the edge of the other. */
function ends({ from, to }, nodes) {
  const [a, b] = [nodes.get(from), nodes.get(to)]
  if (a.x === b.x) {
    const down = Math.sign(b.y - a.y)
    return [a.x, a.y + (down * BOX.height) / 2, b.x, b.y - (down * BOX.height) / 2]
  }
  const right = Math.sign(b.x - a.x)
  return [a.x + (right * BOX.width) / 2, a.y, b.x - (right * BOX.width) / 2, b.y]
}

function line(arrow, nodes, id) {
  const [x1, y1, x2, y2] = ends(arrow, nodes)
  const head = `<path class="arrow ${arrow.style}" d="M${x1} ${y1}L${x2} ${y2}" marker-end="url(#${id}-${arrow.style})"/>`
  if (arrow.style !== 'cut') return head
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2]
  return `${head}<path class="cross" d="M${x - 9} ${y - 9}l18 18m0 -18l-18 18"/>`
}

function label(arrow, nodes) {
  if (!arrow.text) return ''
  const [x1, y1, x2, y2] = ends(arrow, nodes)
  return `<text class="label" x="${(x1 + x2) / 2}" y="${(y1 + y2) / 2 - 9}">${escape(arrow.text)}</text>`
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
