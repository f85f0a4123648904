# Sourced by the scripts: runs commands as named phases, each with its time.
# Output of a phase goes to a log; the log is shown if the phase fails.

phase_dir=${phase_dir:-build/logs}
num_failed_phases=0

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  phase_red=$'\e[31m' phase_green=$'\e[32m' phase_plain=$'\e[0m'
else
  phase_red='' phase_green='' phase_plain=''
fi

# phase NAME COMMAND...: one line "NAME ... ok 12 s", or the end of the log.
# Returns the command's exit status.
phase() {
  local name=$1 status=0 start=$SECONDS
  local log=$phase_dir/${name//[^A-Za-z0-9]/_}.log
  shift
  mkdir -p "$phase_dir"
  printf '%-36s' "$name ..."
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status == 0)); then
    printf '%sok%s %5d s\n' "$phase_green" "$phase_plain" $((SECONDS - start))
    return 0
  fi
  num_failed_phases=$((num_failed_phases + 1))
  printf '%sFAILED%s (exit %d) %d s: %s\n' "$phase_red" "$phase_plain" \
    "$status" $((SECONDS - start)) "$*"
  tail -n "${phase_lines:-60}" "$log" | sed 's/^/    /'
  echo "    all of it: $log"
  return "$status"
}
