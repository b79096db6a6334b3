# Every command that a person types here. `just help` lists them.

set positional-arguments
set quiet

# All children of one `just` build into one place, and end when it ends, however it ends.
export CARGO_TARGET_DIR := absolute_path(env('CARGO_TARGET_DIR', 'target'))
export LAB_PARENT := just_pid()

lab := CARGO_TARGET_DIR / 'debug/lab'
lecture := CARGO_TARGET_DIR / 'debug/lecture'
bench := CARGO_TARGET_DIR / 'debug/bench'
board := CARGO_TARGET_DIR / 'debug/board'

# Builds the `lab` command: silently, except the first time, which takes a minute. With
# `common` in it the crates that all chapters share are built at once, on all cores.
cargo := 'cargo build ' + (if path_exists(lab) == 'true' { '-q ' } else { '' }) + '-p lab -p common'
build := cargo + failed
failed := ' || { echo "error: the lab itself could not be built; cargo says above why"' \
    + '; echo "  do   see to Rust (https://rustup.rs), room on the disk, a writable target/"' \
    + '; echo "       and: just doctor"; exit 2; } >&2'

# Programs of their own, which no student waits for: built when they are first typed.
build_lecture := 'cargo build ' + (if path_exists(lecture) == 'true' { '-q ' } else { '' }) + '-p lecture -p lab -p common' + failed
build_board := 'cargo build ' + (if path_exists(board) == 'true' { '-q ' } else { '' }) + '-p board -p lab -p common' + failed
build_bench := 'cargo build ' + (if path_exists(bench) == 'true' { '-q ' } else { '' }) + '-p bench -p lab -p common' + failed

node := 'command -v node >/dev/null && command -v npm >/dev/null || { echo "error: the slides need Node.js 20 or later, with npm"' \
    + '; echo "  do   https://nodejs.org, or the packages nodejs and npm of your system"; exit 2; } >&2'

typos := 'command -v typos >/dev/null || { echo "error: typos, which checks the spelling, is not installed"' \
    + '; echo "  do   pipx install typos, or brew install typos-cli, or cargo install --locked typos-cli"; exit 2; } >&2; typos'

# Without what the compiler keeps for the next change of checks, tests and solutions: a third of
# the disk that `just test` takes. What it keeps of the labs' programs and of the kit stays.
tidy := 'find "$CARGO_TARGET_DIR/debug/incremental" -mindepth 1 -maxdepth 1' \
    + ' ! -name "lab*" ! -name "common-*" ! -name "messaging-*" ! -name "check-*" ! -name "command-*"' \
    + ' ! -name "course-*" ! -name "audit-*" ! -name "verdict-*" ! -name "explain-*" ! -name "process-*" ! -name "terminal-*" ! -name "broker-*" ! -name "quiz-*" ! -name "rewrite-*" -exec rm -r {} +'

# Where you are, and how to go on. Before `just setup` there is no program to ask.
_default:
    #!/bin/sh
    if [ -x {{ quote(lab) }} ]; then exec {{ quote(lab) }} here; fi
    echo "A lab on RabbitMQ microservices. Set it up first; it says what it installs:"
    echo
    echo "  just setup lab 02   then checks chapter 02: expect red, and the first hole"
    echo "  just help           all commands"
    echo
    echo "Start reading at labs/README.md."

# All commands
[group('student: start here')]
help:
    {{ just_executable() }} --justfile {{ quote(justfile()) }} --list --unsorted

# Get a broker and build everything; then: just lab 02
[group('student: start here')]
[no-exit-message]
setup:
    {{ build }}; exec {{ quote(lab) }} setup

# What is installed, which broker is used, what to do
[group('student: start here')]
[no-exit-message]
doctor:
    {{ cargo }} || test -x {{ quote(lab) }} || exit 2; exec {{ quote(lab) }} doctor

# Check your lab, as in: just lab 02; --part a, --all
[group('student: a chapter')]
[no-exit-message]
lab *ARGS:
    {{ build }}; exec {{ quote(lab) }} lab "$@"

# Check your lab again at each save
[group('student: a chapter')]
[no-exit-message]
watch *ARGS:
    {{ build }}; exec {{ quote(lab) }} watch "$@"

# The next hint for a hole, as in: just hint 02 3
[group('student: a chapter')]
[no-exit-message]
hint *ARGS:
    {{ build }}; exec {{ quote(lab) }} hint "$@"

# What crossed the wire in a check's last run, as a picture: just picture 05 killed
[group('student: a chapter')]
[no-exit-message]
picture *ARGS:
    {{ build }}; exec {{ quote(lab) }} picture "$@"

# The same to step through in a browser, as in: just replay 05 killed
[group('student: a chapter')]
[no-exit-message]
replay *ARGS:
    {{ build }}; exec {{ quote(lab) }} replay "$@"

# Every fault at every message, as in: just search 05; --for 60s, --solution
[group('student: a chapter')]
[no-exit-message]
search *ARGS:
    {{ build }}; exec {{ quote(lab) }} search "$@"

# Its services live on a page, with buttons that break them; --solution
[group('student: a chapter')]
[no-exit-message]
board *ARGS:
    {{ build_board }}; exec {{ quote(board) }} "$@"

# Start its services, or one ROLE; --watch, --solution
[group('student: a chapter')]
[no-exit-message]
run NN *ARGS:
    {{ build }}; exec {{ quote(lab) }} run "$@"

# Check the solution, with the same checks
[group('student: a chapter')]
[no-exit-message]
solution NN *ARGS:
    {{ build }}; exec {{ quote(lab) }} solution "$@"

# Your lab beside the solution
[group('student: a chapter')]
[no-exit-message]
diff NN:
    {{ build }}; exec {{ quote(lab) }} diff "$@"

# Put your lab back as handed out; target/ has a copy
[group('student: a chapter')]
[no-exit-message]
reset NN:
    {{ build }}; exec {{ quote(lab) }} reset "$@"

# Fill the holes before one, as in: just catch-up 02 5
[group('student: a chapter')]
[no-exit-message]
catch-up *ARGS:
    {{ build }}; exec {{ quote(lab) }} catch-up "$@"

# Guess what a run will show, then run it
[group('student: a chapter')]
[no-exit-message]
predict *ARGS:
    {{ build }}; exec {{ quote(lab) }} predict "$@"

# Find what is wrong with a wrong answer; --seed N
[group('student: a chapter')]
[no-exit-message]
hunt *ARGS:
    {{ build }}; exec {{ quote(lab) }} hunt "$@"

# Its services in containers; --watch, --solution
[group('student: containers')]
[no-exit-message]
up NN *ARGS:
    {{ build }}; exec {{ quote(lab) }} up "$@"

# Take its containers away, and all that came with them
[group('student: containers')]
[no-exit-message]
down NN *ARGS:
    {{ build }}; exec {{ quote(lab) }} down "$@"

# What its containers print; also: logs NN SERVICE
[group('student: containers')]
[no-exit-message]
logs NN *ARGS:
    {{ build }}; exec {{ quote(lab) }} logs "$@"

# Chapter 07's image to a registry; --solution
[group('student: containers')]
[no-exit-message]
push REGISTRY *ARGS:
    {{ build }}; exec {{ quote(lab) }} push "$@"

# The private broker: up, down, status; url NN
[group('student: the broker')]
[no-exit-message]
broker *ACTION:
    {{ build }}; exec {{ quote(lab) }} broker "$@"

# Slides as HTML and PDF; --students, --plan, --check
[group('instructor: slides')]
[no-exit-message]
slides *ARGS:
    {{ node }}; exec node slides/tool/slides.mjs "$@"

# A deck in the browser, live, with your notes
[group('instructor: slides')]
[no-exit-message]
present NN:
    {{ node }}; exec node slides/tool/present.mjs "$@"
# The lecture, narrated; --auto, --local, --lab
[group('instructor: two machines')]
[no-exit-message]
demo *ARGS:
    {{ build_lecture }}; exec {{ quote(lecture) }} demo "$@"

# Passwords for two real machines, into compose/.env
[group('instructor: two machines')]
[no-exit-message]
credentials *ARGS:
    {{ build_lecture }}; exec {{ quote(lecture) }} credentials "$@"

# Two hosts on this machine: up, down, status, check
[group('instructor: two machines')]
[no-exit-message]
hosts *ACTION:
    {{ build_lecture }}; exec {{ quote(lecture) }} hosts "$@"

# Everything that proves the lab right; also: test NAME, and test --table [NAME]: what each check catches
[group('maintainer')]
[no-exit-message]
test *NAME:
    #!/bin/sh
    if [ "${1-}" = --table ]; then
        shift
        export LAB_TABLE=1
        set -- --package proof --test proofs -- "${@:-mutant}"
    fi
    code=0; cargo test --no-fail-fast "$@" || code=$?; {{ tidy }}; exit $code

# The skeleton of a chapter, as in: new-chapter 08-name
[group('maintainer')]
[no-exit-message]
new-chapter NAME:
    exec labs/kit/proof/tests/new_chapter/make "$@"

# Measures what each pattern costs: bench [rpc publish consume …] [--quick]
[group('maintainer')]
[no-exit-message]
bench *WHAT:
    {{ build_bench }}; exec {{ quote(bench) }} "$@"

# Format all sources
[group('maintainer')]
[no-exit-message]
fmt:
    cargo fmt --all

# The checks have `test = false`, so that no plain `cargo test` runs them, and
# `--all-targets` leaves them out: clippy is told of them by name.
#
# Formatting, clippy with warnings denied, and spelling
[group('maintainer')]
[no-exit-message]
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --workspace --test checks --test search --features search --locked -- -D warnings
    {{ typos }}
