# The size and the checksum of a file.
[ -f "$source" ] || {
	echo "$source: there is no such file" >&2
	exit 6
}
size=$(stat -L -c %s -- "$source") && sum=$(sha256sum <"$source") || exit 6
echo "$size ${sum%% *}"
