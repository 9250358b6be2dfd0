# Receives a file from byte `$offset` on, and puts it in its place when it is whole.
#
# Each byte is written where it belongs, not at the end: of a connection that was lost, a last piece may yet come in.
refuse() {
	echo "$1" >&2
	exit 6
}

[ -d "$parent" ] || refuse "$parent: there is no such directory"
[ ! -d "$target" ] || refuse "$target: it is a directory"
dd of="$part" bs=1M seek="$offset" oflag=seek_bytes iflag=fullblock conv=notrunc status=none || {
	rm -f -- "$part"
	exit 6
}
[ "$(stat -c %s -- "$part")" = "$size" ] || exit 7
[ "$(sha256sum <"$part")" = "$sum  -" ] || {
	rm -f -- "$part"
	exit 8
}
chmod "$mode" -- "$part" && mv -fT -- "$part" "$target" || {
	rm -f -- "$part"
	exit 6
}
