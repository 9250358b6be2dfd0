# Runs the job, notes how it ended, and ends it where nobody asks after it any more. `$1` is the umask of the login.
# Once the job runs, none of this needs room on a disk: a full one must not pass for silence.

watch() {
	last=
	still=0
	while sleep "$tick"; do
		[ -d "$dir" ] || exit 0
		beat=$(stat -c %y "$dir/heartbeat")
		if [ "$beat" = "$last" ]; then
			still=$((still + 1))
		else
			still=0
			last=$beat
		fi
		if [ "$still" -ge "$ticks" ]; then
			kill_tree
			rm -rf "$dir"
			exit 0
		fi
		if [ "$(stat -c %s "$dir/output")" -gt "$most" ]; then
			kill_tree
		fi
	done
}

dir=$base/$id
# A pipe as of old, because of those who open /dev/stdout: were it a file, they would empty it.
mkfifo "$dir/pipe"
{
	cat <"$dir/pipe" >>"$dir/output"
	mv "$dir/pouring" "$dir/drained"
} &
cd "${HOME:-/}" 2>/dev/null || cd /
umask "$1"
# What a shell puts in the background ignores these two signals, and hands that on.
env --default-signal=INT,QUIT -u DRIVETRAIN_SUPERVISOR DRIVETRAIN_JOB="$id" setsid /bin/sh -c '
	. "$1/environment"
	rm -f "$1/environment"
	exec /bin/sh -eu "$1/script"
' sh "$dir" </dev/null >"$dir/pipe" 2>&1 &
leader=$!
umask 077
echo "$leader $$" >"$dir/leader.new"
mv "$dir/leader.new" "$dir/leader"
watch &
wait "$leader"
status=$?
# What it has left in the background may hold the pipe for ever: it is not waited for.
rounds=0
until [ -e "$dir/drained" ] || [ "$rounds" -ge 50 ]; do
	rounds=$((rounds + 1))
	sleep 0.02
done
mv "$dir/running" "$dir/ended-$status"
