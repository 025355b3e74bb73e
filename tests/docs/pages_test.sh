# The pages name nothing that is not there: every command and --option exists in --help, every link leads to a file; and
# the manual pages are sound troff.
NEEDS_BACKBONE=no
. "$(dirname "$0")/../tools/cli/lib.sh" "$@"
SOURCES=$(cd "$CLIPS/../../.." && pwd)
find "$SOURCES/README.md" "$SOURCES/docs" -name '*.md' | sort >pages
grep -hoE -e "--[a-z][a-z0-9-]+" "$SOURCES"/tools/* "$SOURCES"/eval/* 2>/dev/null | sort -u >script-options

for program in "$BIN"/dns-*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=${program##*/}
    echo "$name" >>programs
    "$program" --help >>all-help
    for command in $("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'); do
        "$program" "$command" --help >"help.$name.$command" || exit 1
        cat "help.$name.$command" >>all-help
    done
    # dns-query --help is that of its search; its other commands stand in the completion.
    if [ "$name" = dns-query ]; then
        for command in $("$program" --bash-completion | sed -n "s/^    \([a-z-]*\)) options=.*/\1/p"); do
            "$program" "$command" --help >"help.$name.$command"
            cat "help.$name.$command" >>all-help
        done
    fi
    "$program" --man >"$name.1"
    if command -v man >/dev/null; then
        MANWIDTH=100 MANROFFSEQ='' LC_ALL=C.UTF-8 man -l -Tutf8 --warnings "$name.1" >"$name.txt" 2>warnings
        check "$name --man: $(cat warnings)" [ ! -s warnings ]
        for command in $(ls help."$name".* | sed 's/.*\.//'); do
            check "$name --man: no command $command" grep -q "^\.SS $name $command " <(tr -d "\\\\" <"$name.1")
        done
    fi
    check "$name --bash-completion" bash -n <("$program" --bash-completion)
done

# complain PAGE LINE TEXT
complain() { printf 'FAILED: %s:%s: %s\n' "${1#"$SOURCES/"}" "$2" "$3" >&2; failures=$((failures + 1)); }

# Commands with what follows them up to a pipe, a comment or the closing quote; each option must be that command's.
while IFS= read -r page; do
    while IFS=: read -r line text; do
        name=$(grep -oE '^dns-[a-z]+' <<<"$text")
        grep -qx "$name" programs || { complain "$page" "$line" "no program $name"; continue; }
        sub=$(sed -nE 's/^dns-[a-z]+ ([a-z][a-z-]*)( .*|$)/\1/p' <<<"$text")
        [ "$name" = dns-query ] && [ ! -e "help.$name.${sub:-none}" ] && sub=search
        [ -n "$sub" ] || continue
        [ -e "help.$name.$sub" ] || { complain "$page" "$line" "$name has no command $sub"; continue; }
        for option in $(grep -oE -e ' --[a-z][a-z0-9-]*' <<<"$text"); do
            grep -qE -e "$option( |\$)" "help.$name.$sub" || complain "$page" "$line" "$name $sub has no option $option"
        done
    done < <(grep -noE 'dns-(index|query|model|eval|train)[^`|#;)]*' "$page" | grep -vE '^[0-9]+:dns-[a-z]+/')
    # Options by themselves, in running text: somebody must have them.
    while IFS=: read -r line option; do
        grep -qE -e "$option( |\$|')" all-help script-options ||
            grep -qE -e "(cmake|cc|ffmpeg|ctest|make|pkg-config|git|man|update-alternatives)[^\`]*$option" <(sed -n "${line}p" "$page") ||
            grep -qxE -e '--(man|bash-completion|version|prefix|cflags|libs|fix)' <<<"$option" ||
            complain "$page" "$line" "nobody has the option $option"
    done < <(grep -noE -e '(^|[ `(])--[a-z][a-z0-9-]+' "$page" | sed -E 's/:[ `(]/:/')
    # Links, as seen from the page.
    while IFS=: read -r line target; do
        [ -e "$(dirname "$page")/$target" ] || complain "$page" "$line" "no file $target"
    done < <(grep -noE '\]\([^)#: ]+' "$page" | sed 's/\](//')
    # Sources that are named.
    while IFS=: read -r line target; do
        [ -e "$SOURCES/$target" ] || complain "$page" "$line" "no file $target"
    done < <(grep -noE '`(engine|students|selector|index|eval|tools|tests|cmake|docs)/[A-Za-z0-9_/.-]+`' "$page" | tr -d '`' |
        grep -vE '\*')
done <pages
finish
