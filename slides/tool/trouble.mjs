// How the commands end: 0, or 1 for a mistake in a deck, or 2 for what this machine lacks.

import { Trouble } from './place.mjs'

/** Runs a command and tells its errors as the lab's other commands tell theirs. */
export async function guarded(command) {
  try {
    process.exitCode = (await command()) ?? 0
  } catch (error) {
    const mine = error instanceof Trouble
    console.error(`error: ${error.message}`)
    if (mine) console.error(`  do   ${error.mend}`)
    process.exitCode = mine || error.code?.startsWith?.('ERR_PARSE_ARGS') ? 2 : 1
  }
}
