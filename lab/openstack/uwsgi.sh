#!/bin/sh
# uwsgi.sh ADDRESS PORT FILE: serves a WSGI application, as Apache does elsewhere. Processes, and no threads: what
# Eventlet has patched cannot go from one thread to another.
exec uwsgi --plugins python3 --http-socket "$1:$2" --wsgi-file "$3" --master --processes 4 --die-on-term \
	--need-app --disable-logging --buffer-size 65535 --add-header 'Connection: close' --post-buffering 65536
