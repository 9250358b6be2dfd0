# The processes of the job `$id`. `$leader` began its session; it is empty where there is none yet.

# The processes that have this setting in the environment that they were started with.
having() {
	for file in $(grep -slzxF -e "$1=$id" /proc/[0-9]*/environ); do
		file=${file#/proc/}
		printf '%s ' "${file%/environ}"
	done
}

# Sets `found`: those with the job's variable, those of its session, and all their descendants.
members() {
	found=" $(having DRIVETRAIN_JOB)"
	grown=yes
	while [ -n "$grown" ]; do
		grown=
		for entry in /proc/[0-9]*; do
			pid=${entry#/proc/}
			case $found in *" $pid "*) continue ;; esac
			if belongs "$entry"; then
				found="$found$pid "
				grown=yes
			fi
		done
	done
}

belongs() {
	{ read -r line <"$1/stat"; } 2>/dev/null || return 1
	# A program's name may hold spaces and brackets: what counts is after the last one.
	# shellcheck disable=SC2086
	set -- ${line##*) }
	case ${1:-Z} in Z | X) return 1 ;; esac
	[ -n "$leader" ] && [ "${4:-}" = "$leader" ] && return 0
	case $found in *" ${2:-none} "*) return 0 ;; esac
	return 1
}

# Kills them all, and comes back when none is left. They are stopped first, so that none makes another meanwhile, and
# none loses its parent before it is known to be one of them.
kill_tree() {
	before=
	rounds=0
	while members && [ -n "${found# }" ]; do
		rounds=$((rounds + 1))
		[ "$rounds" -le 200 ] || return 1
		# shellcheck disable=SC2086
		kill -STOP $found 2>/dev/null
		if [ "$found" = "$before" ]; then
			# shellcheck disable=SC2086
			kill -KILL $found 2>/dev/null
			before=
			sleep 0.05
		else
			before=$found
		fi
	done
	return 0
}
