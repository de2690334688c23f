#!/usr/bin/env bash
# Waits until a broker answers ApiVersions.   answers.sh HOST:PORT SECONDS [PID]     fails at once if PID is gone
set -u
host=${1%:*} port=${1##*:} until=$(( $(date +%s) + $2 )) pid=${3:-}
while [ "$(date +%s)" -lt "$until" ]; do
  if { exec 3<> "/dev/tcp/$host/$port"; } 2> /dev/null; then
    # Length 11: key 18, version 0, correlation 7, client id "x"; the answer starts with its length and that correlation.
    printf '\0\0\0\13\0\22\0\0\0\0\0\7\0\1x' >&3
    head=$(timeout 5 head -c 8 <&3 | od -An -tx1 | tr -d ' \n')
    exec 3>&-
    case $head in ????????00000007) exit 0 ;; esac
  fi
  if [ -n "$pid" ] && ! kill -0 "$pid" 2> /dev/null; then echo "process $pid is gone" >&2; exit 1; fi
  sleep 0.1
done
echo "no answer from $1 in $2 s" >&2
exit 1
