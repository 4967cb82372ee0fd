#!/bin/sh
# The servers that tests start for themselves: what is missing is installed where that may be done (root, apt), and
# named elsewhere. Tests that need what is not there are skipped by name.
missing=""
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v valkey-server >/dev/null || command -v redis-server >/dev/null || missing="$missing redis-server"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install() {
        # shellcheck disable=SC2086 - they are several
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1
    }
    install && exit 0
    apt-get update -qq >/dev/null 2>&1 && install && exit 0  # the lists of packages may be old, or not there
fi
echo "Not installed, so some tests will be skipped (Debian: apt-get install$missing)" >&2
