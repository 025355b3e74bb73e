# What the tests of the programs share. Each runs in an empty folder of its own; $BIN has the programs, $CLIPS real clips.
set -uo pipefail
failures=0

# want CODE COMMAND...: runs it; its output is in $out and $err
want() {
    local code=$1 got
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    out=$(cat -v "$work/out")
    err=$(cat -v "$work/err")
    if [ "$got" != "$code" ]; then
        printf 'FAILED: exit code %s, expected %s: %s\n%s\n%s\n' "$got" "$code" "$*" "$out" "$err" >&2
        failures=$((failures + 1))
        return 1
    fi
}

# says TEXT: $out or $err contains it
says() {
    case "$out$err" in
    *"$1"*) ;;
    *)
        printf 'FAILED: output lacks %q:\n%s\n%s\n' "$1" "$out" "$err" >&2
        failures=$((failures + 1))
        ;;
    esac
}

# check WHAT COMMAND...: the command succeeds
check() {
    local what=$1
    shift
    "$@" || {
        printf 'FAILED: %s\n' "$what" >&2
        failures=$((failures + 1))
    }
}

finish() {
    rm -rf "$work"
    [ $failures = 0 ] && echo "all as expected"
    exit $((failures > 0))
}

BIN=$1 CLIPS=$2
export PATH=$BIN:$PATH
"$BIN/dns-query" --version >/dev/null || exit 1
backbone=${DNS_BACKBONES:-${XDG_CACHE_HOME:-$HOME/.cache}/dnsel/backbones}/efficientnet-lite0.safetensors
[ -e "$backbone" ] || [ "${NEEDS_BACKBONE:-yes}" = no ] || { echo "skipped: no backbone at $backbone"; exit 77; }
work=$(mktemp -d)
trap 'chmod -R u+rwx "$work" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
