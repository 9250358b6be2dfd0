# Begins every script of the preparation. `done_because` and `to_do` are how a check ends; ROOT is empty on a machine,
# and a directory in tests.

done_because() {
	echo "drivetrain: done: $*"
	exit 0
}

to_do() {
	echo "drivetrain: to do: $*"
	exit 10
}

fail() {
	echo "drivetrain: failed: $*"
	exit 1
}

has() {
	command -v "$1" >/dev/null 2>&1
}

ROOT=${ROOT-}
