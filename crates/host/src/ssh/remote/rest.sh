# The job's output from byte `$from` on, as far as it goes.
exec tail -c "+$from" "$base/$id/output"
