# Gets a job and starts it, once, however often this is asked for. Its parts come through the pipe.

say() {
	echo "$1" >&2
	exit "$2"
}

sweep() {
	now=$(date +%s)
	for old in "$base"/* "$base"/.[0-9a-f]*; do
		at=$(stat -c %Y "$old/heartbeat" 2>/dev/null || stat -c %Y "$old" 2>/dev/null) || continue
		[ $((now - at)) -gt 86400 ] || continue
		[ -n "$(id=${old##*/}; having DRIVETRAIN_SUPERVISOR)" ] || rm -rf "$old"
	done
}

part() {
	head -c "$2" >"$new/$1" || say "no room for the job in $base" 6
	[ "$(stat -c %s "$new/$1")" = "$2" ] || say "the job did not arrive whole in $base" 6
}

dir=$base/$id
new=$base/.$id.$$
mkdir -m 700 "$base" 2>/dev/null
[ "$(stat -c '%F %u %a' "$base")" = "directory $(id -u) 700" ] ||
	say "$base is not a directory of this user alone: remove it" 5
if [ ! -d "$dir" ]; then
	sweep
	mkdir "$new" || exit 6
	trap 'rm -rf "$new"' EXIT
	part environment "$environment_size"
	part script "$script_size"
	part supervise "$supervise_size"
	cat /proc/sys/kernel/random/boot_id >"$new/boot"
	: >"$new/output"
	: >"$new/heartbeat"
	: >"$new/running"
	: >"$new/pouring"
	mv -T "$new" "$dir" 2>/dev/null
	trap - EXIT
	rm -rf "$new"
fi
# Whoever makes this starts it; or, to kill it before it begins, has seen to it that nobody will.
if mkdir "$dir/started" 2>/dev/null; then
	DRIVETRAIN_SUPERVISOR=$id setsid /bin/sh "$dir/supervise" "$mask" </dev/null >/dev/null 2>&1 &
fi
rounds=0
until [ -s "$dir/leader" ]; do
	rounds=$((rounds + 1))
	[ "$rounds" -le 400 ] || say "the job did not begin within 20 seconds" 7
	sleep 0.05
done
exit 0
