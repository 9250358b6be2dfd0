# Ends whoever watches over the job, and removes what is left of it.
dir=$base/$id
# shellcheck disable=SC2046
kill -KILL $(having DRIVETRAIN_SUPERVISOR) 2>/dev/null
rm -rf "$dir"
