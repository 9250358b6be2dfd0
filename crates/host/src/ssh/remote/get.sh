# A file from byte `$from` on.
exec tail -c "+$from" -- "$source"
