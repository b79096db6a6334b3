// Terminal output for the slides, from real runs: the commands of slides/recorded/ again.

import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './place.mjs'
import { FOLDER, parse } from './recording.mjs'

const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target')

/** Runs the commands of these recordings, or of all, and keeps what they print. */
export function record(names) {
  const texts = readdirSync(join(root, FOLDER)).filter((file) => file.endsWith('.txt'))
  const all = texts.map((file) => file.replace(/\.txt$/, ''))
  for (const name of names.length ? names : all) {
    const path = join(root, FOLDER, `${name}.txt`)
    const { settings, command } = parse(readFileSync(path, 'utf8'))
    const output = ran(command, settings)
    const head = Object.entries(settings).map(([key, value]) => `# ${key}: ${value}\n`)
    writeFileSync(path, `${head.join('')}$ ${command}\n${output.trimEnd()}\n`)
    if (settings.picture) keepPicture(name, command)
    console.log(`${FOLDER}/${name}.txt: ${output.trimEnd().split('\n').length} lines`)
  }
}

/** Keeps the picture that the command's one check drew, and the journal that it shows. */
function keepPicture(name, command) {
  const [, run, chapter, check] = command.match(/^just (lab|solution) (\d\d) --only (\S+)/) ?? []
  if (!check) throw new Error(`${name}: only \`just solution NN --only CHECK\` draws one picture`)
  const folder = join(target, 'lab', run === 'lab' ? chapter : `solution-${chapter}`, check)
  for (const [kept, drawn] of [['svg', 'picture.svg'], ['jsonl', 'journal.jsonl']]) {
    copyFileSync(join(folder, drawn), join(root, FOLDER, `${name}.${kept}`))
  }
}

/** What the command prints, on both outputs. Throws when it ends with another code. */
function ran(command, { mutant, exit = '0' }) {
  const env = { ...process.env, COLUMNS: '80' }
  if (mutant) env.LAB_PROGRAM = program(mutant)
  const done = spawnSync('bash', ['-c', `${command} 2>&1`], { cwd: root, env, encoding: 'utf8' })
  if (done.status !== Number(exit)) {
    throw new Error(`${command} ended with ${done.status}, not ${exit}:\n${done.stdout.slice(-800)}`)
  }
  // What Cargo says while it builds is not the command's.
  const lines = done.stdout.split('\n')
  return lines.filter((line) => !/^ +(Blocking|Compiling|Finished) /.test(line)).join('\n')
}

/**
 * A mutant's program, as `02 no-ack` names it; the proof of that mutant builds it, and the link
 * to it that has the mutant's name: by its name the program knows which one to be.
 */
function program(mutant) {
  const [chapter, name] = mutant.split(' ')
  const proof = ['test', '-q', '-p', 'proof', '--test', 'proofs', '--', '--exact', `${chapter} mutant ${name}`]
  const proved = spawnSync('cargo', proof, { cwd: root, encoding: 'utf8' })
  if (proved.status !== 0) throw new Error(`mutant ${mutant}: ${proved.stdout}${proved.stderr}`)
  return join(target, `lab/proofs/crates/programs/answer-${chapter}-${name}/${name}`)
}
