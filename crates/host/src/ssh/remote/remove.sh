# What a copy that was given up has left behind.
rm -f -- "$part"
