// What a command printed when it was last recorded (`just slides --record`).

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where the recordings lie, from the workspace. */
export const FOLDER = 'slides/recorded'

/**
 * The text for a fence: ` ```terminal recorded=02-no-ack lines=2-9 `. Line 1 is the command.
 * Throws when there is no such recording or it has not so many lines.
 */
export function recording(root, { recorded, lines }, body) {
  if (!recorded) throw new Error('a terminal shows a recorded run: say which, as recorded=NAME')
  if (body.trim()) throw new Error(`the terminal of ${recorded} has lines of its own, too`)
  const path = join(FOLDER, `${recorded}.txt`)
  if (!existsSync(join(root, path))) {
    throw new Error(`no ${path}: write its first line, then \`just slides --record ${recorded}\``)
  }
  const all = parse(readFileSync(join(root, path), 'utf8'))
  const shown = [`$ ${all.command}`, ...all.output]
  if (!lines) return shown.join('\n')
  const [from, to] = lines.split('-').map(Number)
  if (!(from >= 1 && from <= to && to <= shown.length)) {
    throw new Error(`${path} has lines 1-${shown.length}, and not ${lines}`)
  }
  return shown.slice(from - 1, to).join('\n')
}

/**
 * A recording: lines `# name: value` first (`mutant: 02 no-ack` puts that program under check,
 * `exit: 1` is the code it must end with), then `$ command`, then what that printed.
 */
export function parse(text) {
  const lines = text.trimEnd().split('\n')
  const settings = {}
  while (lines[0]?.startsWith('# ')) {
    const [, name, value] = lines.shift().match(/^# (\w+): (.*)$/) ?? []
    settings[name] = value
  }
  const [, command] = lines.shift()?.match(/^\$ (.+)$/) ?? []
  if (!command) throw new Error('a recording begins with `$ ` and its command')
  return { settings, command, output: lines }
}
