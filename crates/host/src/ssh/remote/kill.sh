# Kills the job for good, also where it has not begun.
dir=$base/$id
leader=
mkdir -m 700 "$base" 2>/dev/null
mkdir "$dir" 2>/dev/null
begun=
if ! mkdir "$dir/started" 2>/dev/null; then
	# It is started at this moment, or was long ago.
	begun=yes
	rounds=0
	until [ -s "$dir/leader" ] || [ "$rounds" -gt 100 ]; do
		rounds=$((rounds + 1))
		sleep 0.05
	done
	{ read -r leader _ <"$dir/leader"; } 2>/dev/null
	# Of another boot, or of a job that has ended, it is a number that may be anybody's.
	[ -e "$dir/running" ] || leader=
	[ "$(cat "$dir/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ] || leader=
fi
kill_tree || {
	echo "processes that do not end: $found" >&2
	exit 8
}
# The last that it wrote is on its way to the file.
rounds=0
until [ -z "$begun" ] || [ -e "$dir/drained" ] || [ "$rounds" -ge 50 ]; do
	rounds=$((rounds + 1))
	sleep 0.02
done
echo "$begun"
