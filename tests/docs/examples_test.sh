# Every block of the pages that is marked ```sh test does what it says: blocks of a page run in order, in a folder with
# films/ and clip.mp4 (an edited copy of one of them), with $SOURCES as the root of the sources.
. "$(dirname "$0")/../tools/cli/lib.sh" "$@"
SOURCES=$(cd "$CLIPS/../../.." && pwd)
export SOURCES

blocks() { # PAGE: its marked blocks as one script; a failure names the page's line
    awk -v page="${1#"$SOURCES/"}" '
        /^```sh test$/ { inside = 1; next }
        /^```/ { inside = 0 }
        inside { print (/^[^ #]/ && !continued ? "line=" FNR "; " : "") $0; continued = /\\$/ }
        BEGIN { print "trap '\''code=$?; echo \"" page ":$line: exit code $code\" >&2'\'' ERR" }' "$1"
}

mkdir films
cp "$CLIPS/birds.mp4" "$CLIPS/city.mp4" "$CLIPS/tree.mp4" films
ffmpeg -nostdin -v error -i films/city.mp4 -t 10 -vf 'crop=iw*0.8:ih*0.8,scale=320:-2,hflip' -an clip.mp4 || exit 1
n=0
while IFS= read -r page; do
    grep -q '^```sh test$' "$page" || continue
    mkdir "page-$n"
    cp -r films clip.mp4 "page-$n"
    blocks "$page" >"page-$n.sh"
    if ! env -C "page-$n" bash -euo pipefail "$work/page-$n.sh" >"page-$n.out" 2>"page-$n.err" </dev/null; then
        tail -n 5 "page-$n.err" >&2
        check "${page#"$SOURCES/"}: an example" false
    fi
    n=$((n + 1))
done < <(find "$SOURCES/README.md" "$SOURCES/docs" -name '*.md' | sort)
check "pages with examples" [ $n -ge 2 ]

# The fields of an answer are those of docs/query.md, both ways.
want 0 dns-index build fields.dns films
want 0 dns-query fields.dns clip.mp4 --ndjson
grep -o '"[a-z_]*":' out | tr -d '":' | sort -u >given
sed -n '/^## NDJSON/,/^## /s/^| `\([^`]*\)` |.*/\1/p' "$SOURCES/docs/query.md" | sed 's/\[\]$//; s/.*\.//' | sort -u >documented
check "not in docs/query.md: $(comm -23 given documented | xargs)" [ -z "$(comm -23 given documented)" ]
grep -vxE 'confidence|probability' documented >without # only with a selector, a classifier of pairs
check "in docs/query.md, but not given: $(comm -13 given without | xargs)" [ -z "$(comm -13 given without)" ]
finish
