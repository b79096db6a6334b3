// Lines of a source, by the anchor that stands around them.

const MARK = /^\s*(?:\/\/|#)\s*(ANCHOR(?:_END)?: \S+|(?:END )?HOLE \d+)\b/

/**
 * The lines between `ANCHOR: name` and `ANCHOR_END: name`, or, for `HOLE-3`, between
 * `HOLE 3` and `END HOLE 3`; without the marks, and moved to the left as far as it goes.
 * `answer` says whether a line of them stands in a hole of a solution.
 */
export function excerpt(source, anchor, path) {
  if (!anchor) throw new Error(`${path}: which lines? Name an anchor, as #declare or #HOLE-1`)
  const hole = anchor.match(/^HOLE-(\d+)$/)?.[1]
  const [first, last] = hole
    ? [`HOLE ${hole}`, `END HOLE ${hole}`]
    : [`ANCHOR: ${anchor}`, `ANCHOR_END: ${anchor}`]
  const lines = []
  let state = 'before'
  let inHole = false
  let answer = false
  for (const line of source.split('\n')) {
    const mark = line.match(MARK)?.[1]
    if (mark === first) state = 'within'
    else if (mark === last && state === 'within') state = 'after'
    if (mark?.startsWith('HOLE')) inHole = true
    if (mark?.startsWith('END HOLE')) inHole = false
    if (mark || state !== 'within') continue
    answer ||= inHole && path.startsWith('solutions/')
    lines.push(line)
  }
  if (state === 'before') throw new Error(`${path} has no \`${first}\``)
  if (state === 'within') throw new Error(`${path} has \`${first}\` and no \`${last}\``)
  if (!lines.some((line) => line.trim())) throw new Error(`${path}: nothing stands at ${first}`)
  return { lines: dedent(trimmed(lines)), answer }
}

function trimmed(lines) {
  const from = lines.findIndex((line) => line.trim())
  const to = lines.findLastIndex((line) => line.trim())
  return lines.slice(from, to + 1)
}

function dedent(lines) {
  const indents = lines.filter((line) => line.trim()).map((line) => line.match(/^ */)[0].length)
  const least = Math.min(...indents)
  return lines.map((line) => line.slice(least))
}
