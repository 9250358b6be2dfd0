# Takes `noexec`, and nothing else, from the options of MOUNT_POINT: as it is mounted now, and in fstab.

fstab=$ROOT/etc/fstab

# Whether the word noexec is among the options of a line of fstab.
in_fstab() {
	[ -e "$fstab" ] || return 1
	awk -v point="$MOUNT_POINT" '
		$1 !~ /^#/ && $2 == point && ("," $4 ",") ~ /,noexec,/ { found = 1 }
		END { exit !found }' "$fstab"
}

in_kernel() {
	[ -z "$ROOT" ] || return 1
	case ,$(findmnt -nro OPTIONS --target "$MOUNT_POINT" | tail -n 1), in
	*,noexec,*) return 0 ;;
	esac
	return 1
}

check() {
	if in_fstab; then to_do "$MOUNT_POINT is noexec in fstab"; fi
	if in_kernel; then to_do "$MOUNT_POINT is mounted noexec"; fi
	done_because "programs on $MOUNT_POINT can be executed"
}

apply() {
	if in_fstab; then
		# Only the field with the options is touched, and lines of other mount points stay as they are to the byte.
		awk -v point="$MOUNT_POINT" '
			$1 !~ /^#/ && $2 == point {
				count = split($4, words, ",")
				options = ""
				for (i = 1; i <= count; i++)
					if (words[i] != "noexec") options = options (options == "" ? "" : ",") words[i]
				if (options == "") options = "defaults"
				match($0, /^[ \t]*[^ \t]+[ \t]+[^ \t]+[ \t]+[^ \t]+[ \t]+/)
				rest = substr($0, RLENGTH + 1 + length($4))
				$0 = substr($0, 1, RLENGTH) options rest
			}
			{ print }' "$fstab" >"$fstab.drivetrain"
		# Into the file that is there: its owner, mode and label stay.
		cat "$fstab.drivetrain" >"$fstab"
		rm "$fstab.drivetrain"
	fi
	if in_kernel; then
		mount -o remount,exec "$MOUNT_POINT"
	fi
}
