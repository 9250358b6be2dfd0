# What the scripts beside this one share. Sourced, not run.

set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Where rustup puts cargo: a shell that was open before the installation does not know. First, before an older one
# of the distribution's.
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

# The lab's directory, which tests look up under this name. Absolute: every crate's tests run in a directory of
# their own.
DRIVETRAIN_LAB=$(realpath -m -- "${DRIVETRAIN_LAB:-.lab}")
export DRIVETRAIN_LAB

say() {
	printf '==> %s\n' "$*"
}

fail() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# stage NAME COMMAND...: runs a command under a name, and says how long it took. A failure ends the script. (Not
# tested with `if`, in which functions would go on after a command of theirs that fails.)
stage() {
	local name=$1 started=$EPOCHREALTIME
	shift
	current=$name
	say "$name"
	"$@"
	current=
	say "$name: $(elapsed "$started")"
}

current=
finish() {
	local status=$?
	tidy
	[ "$status" = 0 ] || [ -z "$current" ] || printf '%s: failed: %s\n' "$(basename "$0")" "$current" >&2
	exit "$status"
}
trap finish EXIT

# What a script wants done at its end, however that comes.
tidy() {
	:
}

# Seconds since an earlier EPOCHREALTIME, with one decimal.
elapsed() {
	local us=$((${EPOCHREALTIME//[^0-9]/} - ${1//[^0-9]/}))
	printf '%d.%d s' $((us / 1000000)) $((us / 100000 % 10))
}

# lab_up [--release]: makes the lab, or what of it is stale. With the profile that the caller compiles anyway.
lab_up() {
	cargo run --quiet "$@" -p drivetrain-lab -- up --dir "$DRIVETRAIN_LAB"
}

# world_up: makes metadata as large as a distribution's in the lab, for the tests that want them. Once: they are made of
# whatever apt knows, and nothing depends on which packages these are.
world_up() {
	local world=$DRIVETRAIN_LAB/world
	[ -e "$world" ] || cargo run --quiet -p drivetrain-lab -- world --dir "$DRIVETRAIN_LAB" "$world"
}

# pulp_up: installs the Pulps in the lab that tests start servers from, where they are not there or old ones.
pulp_up() {
	cargo run --quiet -p drivetrain-lab -- pulp install --dir "$DRIVETRAIN_LAB" --release all
}

# kayobe_up: installs the Kayobe in the lab that tests configure machines with, where it is not there or an old one.
kayobe_up() {
	cargo run --quiet -p drivetrain-lab -- kayobe install --dir "$DRIVETRAIN_LAB"
}

# container_up: makes the root of containers of the train's system, for the tests of the vendor's tool. As root only, as
# those tests.
container_up() {
	[ "$(id -u)" -ne 0 ] || cargo run --quiet -p drivetrain-lab -- container --dir "$DRIVETRAIN_LAB"
}
