# Says how the job stands.
dir=$base/$id

ended() {
	for file in "$dir"/ended-*; do
		if [ -e "$file" ]; then
			echo "ended ${file##*-} $(stat -c %s "$dir/output")"
			exit 0
		fi
	done
}

rounds=0
while [ "$rounds" -lt 250 ]; do
	rounds=$((rounds + 1))
	[ -d "$dir" ] || { echo absent; exit 0; }
	ended
	[ "$(cat "$dir/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ] || { echo rebooted; exit 0; }
	leader=
	supervisor=
	{ read -r leader supervisor <"$dir/leader"; } 2>/dev/null
	if ! grep -qszxF -e "DRIVETRAIN_SUPERVISOR=$id" "/proc/${supervisor:-none}/environ"; then
		ended
		[ -d "$dir" ] || { echo absent; exit 0; }
		break
	fi
	! kill -0 "$leader" 2>/dev/null || { echo running; exit 0; }
	sleep 0.02
done
echo unsupervised
