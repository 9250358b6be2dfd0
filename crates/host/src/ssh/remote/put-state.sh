# How much of a file has arrived.
if [ -f "$part" ]; then
	stat -c '%s' -- "$part"
elif [ -f "$target" ] && [ "$(sha256sum <"$target")" = "$sum  -" ]; then
	chmod "$mode" -- "$target" && echo whole
else
	echo 0
fi
