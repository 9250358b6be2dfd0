# Ends all processes that have MARK in their environment, with their descendants: those that run as another user have
# another environment.

marked() {
	grep -lzxF "$MARK" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
}

children() {
	for stat in /proc/[0-9]*/stat; do
		{ read -r line <"$stat"; } 2>/dev/null || continue
		id=${stat#/proc/}
		id=${id%/stat}
		set -- ${line##*) }
		case " $all " in
		*" $id "*) ;;
		*" $2 "*) echo "$id" ;;
		esac
	done
}

for round in 1 2 3; do
	all=$(marked | tr '\n' ' ')
	[ -n "$all" ] || break
	more=$(children | tr '\n' ' ')
	while [ -n "$more" ]; do
		all="$all $more"
		more=$(children | tr '\n' ' ')
	done
	kill -KILL $all 2>/dev/null || :
done
