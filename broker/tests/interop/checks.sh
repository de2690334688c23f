# Sourced: one line a check. `client` names who is checked.
failed=0

check() {
  local what=$1 began=$EPOCHREALTIME said status
  shift
  said=$(mktemp)
  "$@" > "$said" 2>&1
  status=$?
  if [ $status = 0 ]; then
    printf 'ok   %s: %s (%.1f s)\n' "$client" "$what" "$(echo "$EPOCHREALTIME - $began" | awk '{print $1 - $3}')"
  else
    failed=$((failed + 1))
    printf 'FAIL %s: %s: %s\n' "$client" "$what" "$(tail -c 600 "$said" | tr '\n' ' ')"
  fi
  rm -f "$said"
}

# Two files are equal and not empty; otherwise says where they part.
same() { [ -s "$2" ] && cmp "$1" "$2" || { diff <(head -c 300 "$1") <(head -c 300 "$2") | head -5; return 1; }; }
